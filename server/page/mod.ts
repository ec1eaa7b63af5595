/**
 * The page at `/`: a small chat and the engine's figures. It sends requests only to this server.
 */

import html from "./page.html" with { type: "text" };
import css from "./page.css" with { type: "text" };
import script from "./page.js" with { type: "text" };

/** A file of the page. */
interface Asset {
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

function asset(text: string, type: string): Asset {
  return {
    text,
    headers: {
      "content-type": `${type}; charset=utf-8`,
      "content-security-policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      "cache-control": "no-cache",
    },
  };
}

/** The files of the page, by route. */
export const PAGE: Readonly<Record<string, Asset>> = {
  "GET /": asset(html, "text/html"),
  "GET /page.css": asset(css, "text/css"),
  "GET /page.js": asset(script, "text/javascript"),
};
