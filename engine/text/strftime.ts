/** Formats dates like glibc's strftime, which Python uses, but always in English. */

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS =
  "January February March April May June July August September October November December"
    .split(" ");

/** Letters that are short for other formats. */
const COMPOSED: Readonly<Record<string, string>> = {
  c: "%a %b %e %H:%M:%S %Y",
  D: "%m/%d/%y",
  F: "%Y-%m-%d",
  h: "%b",
  n: "\n",
  R: "%H:%M",
  r: "%I:%M:%S %p",
  T: "%H:%M:%S",
  t: "\t",
  X: "%H:%M:%S",
  x: "%m/%d/%y",
};

/** A text, or a number with its minimum width and fill character. */
type Field = string | readonly [value: number, width: number, fill?: " " | "0"];

/** Returns the date in Python's format. Unknown directives are left unchanged. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^#]*)(\d*)([a-zA-Z%])/g, (match, ...groups) => {
    const [flags, width, letter] = groups as [string, string, string];
    const composed = COMPOSED[letter];
    const field = composed === undefined ? fieldOf(date, letter) : strftime(date, composed);
    return field === undefined ? match : written(field, flags, Number(width));
  });
}

function written(field: Field, flags: string, least: number): string {
  // The last of several fill flags applies.
  const fill = [...flags].filter((flag) => "-_0".includes(flag)).at(-1);
  if (typeof field === "string") {
    const swapped = field === "AM" || field === "PM" ? field.toLowerCase() : field.toUpperCase();
    const text = flags.includes("^") ? field.toUpperCase() : flags.includes("#") ? swapped : field;
    return text.padStart(least, fill === "0" ? "0" : " ");
  }
  const [value, width, usual = "0"] = field;
  if (fill === "-") return String(value);
  return String(value).padStart(least || width, fill === "_" ? " " : fill ?? usual);
}

function fieldOf(date: Date, letter: string): Field | undefined {
  const year = date.getFullYear();
  const weekday = date.getDay();
  const hours = date.getHours();
  const day = dayOfYear(date);
  switch (letter) {
    case "A":
      return DAYS[weekday]!;
    case "a":
      return DAYS[weekday]!.slice(0, 3);
    case "B":
      return MONTHS[date.getMonth()]!;
    case "b":
      return MONTHS[date.getMonth()]!.slice(0, 3);
    case "C":
      return [Math.floor(year / 100), 2];
    case "d":
      return [date.getDate(), 2];
    case "e":
      return [date.getDate(), 2, " "];
    case "f":
      return [date.getMilliseconds() * 1000, 6];
    case "G":
      return [isoWeek(date).year, 4];
    case "H":
      return [hours, 2];
    case "I":
      return [hours % 12 || 12, 2];
    case "j":
      return [day, 3];
    case "k":
      return [hours, 2, " "];
    case "l":
      return [hours % 12 || 12, 2, " "];
    case "M":
      return [date.getMinutes(), 2];
    case "m":
      return [date.getMonth() + 1, 2];
    case "P":
      return hours < 12 ? "am" : "pm";
    case "p":
      return hours < 12 ? "AM" : "PM";
    case "S":
      return [date.getSeconds(), 2];
    case "s":
      return [Math.floor(date.getTime() / 1000), 1];
    case "U":
      return [Math.floor((day + 6 - weekday) / 7), 2];
    case "u":
      return [weekday || 7, 1];
    case "V":
      return [isoWeek(date).week, 2];
    case "W":
      return [Math.floor((day + 6 - (weekday + 6) % 7) / 7), 2];
    case "w":
      return [weekday, 1];
    case "Y":
      return [year, 1];
    case "y":
      return [year % 100, 2];
    // Python's datetime.now() has no time zone.
    case "Z":
    case "z":
      return "";
    case "%":
      return "%";
    default:
      return undefined;
  }
}

/** Returns the day of the year, from 1. */
function dayOfYear(date: Date): number {
  const midnight = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (midnight - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000 + 1;
}

/** Returns the week according to ISO 8601: it belongs to the year of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate());
  thursday.setDate(thursday.getDate() + 4 - (date.getDay() || 7));
  return {
    year: thursday.getFullYear(),
    week: Math.ceil(dayOfYear(thursday) / 7),
  };
}
