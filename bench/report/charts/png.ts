/** Renders SVG as PNG with fonts of its own, so that the picture is the same on every machine. */

import { initWasm, Resvg } from "@resvg/resvg-wasm";
import wasm from "@resvg/resvg-wasm/index_bg.wasm" with { type: "bytes" };
import bold from "dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf" with { type: "bytes" };
import regular from "dejavu-fonts-ttf/ttf/DejaVuSans.ttf" with { type: "bytes" };

/** PNG pixels per SVG pixel: sharp on high-density screens. */
const SCALE = 2;

await initWasm(wasm);

/** Renders `svg`. */
export function toPng(svg: string): Uint8Array {
  const font = { fontBuffers: [regular, bold], defaultFontFamily: "DejaVu Sans" };
  return new Resvg(svg, { font, fitTo: { mode: "zoom", value: SCALE } }).render().asPng();
}
