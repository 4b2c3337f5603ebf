// Text styles of terminals. A style is a set of changes: an attribute that it lacks is as it was before. So the effect of a part of a
// log is one value, whether or not what stands before it has been loaded.

/** A colour: 0 to 255 of the palette, or `RGB` plus 24 bits; `null` is the default colour. */
export type Colour = number | null;

/** Marks a colour as one of 24 bits. */
export const RGB = 0x1000000;

export interface Style {
  readonly foreground?: Colour;
  readonly background?: Colour;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly inverse?: boolean;
  readonly strike?: boolean;
}

/** No change. */
export const UNCHANGED: Style = Object.freeze({});

/** What a reset sets. */
export const RESET: Style = Object.freeze({
  foreground: null,
  background: null,
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  inverse: false,
  strike: false,
});

/** The maximum number of parameters of one sequence that are read. */
const MAX_PARAMETERS = 64;
const MAX_KNOWN = 4096;

const known = new Map<string, Style>();
const combined = new WeakMap<Style, WeakMap<Style, Style>>();
const selected = new Map<string, Style>();

/** Returns the same object for equal styles, so that styles can be compared by identity. */
function shared(style: Style): Style {
  const key = JSON.stringify(
    [
      style.foreground,
      style.background,
      style.bold,
      style.dim,
      style.italic,
      style.underline,
      style.inverse,
      style.strike,
    ].map((value) => (value === undefined ? "" : value)),
  );
  return remembered(known, key, () => style);
}

function remembered(values: Map<string, Style>, key: string, compute: () => Style): Style {
  const existing = values.get(key);
  if (existing !== undefined) return existing;
  const value = compute();
  if (values.size >= MAX_KNOWN) values.clear();
  values.set(key, value);
  return value;
}

/** The effect of `first` and then `second`. */
export function combine(first: Style, second: Style): Style {
  if (second === UNCHANGED) return first;
  if (first === UNCHANGED || second === RESET) return second;
  let results = combined.get(first);
  if (results === undefined) combined.set(first, (results = new WeakMap()));
  let result = results.get(second);
  if (result === undefined) results.set(second, (result = shared({ ...first, ...second })));
  return result;
}

const SIMPLE: Readonly<Record<number, Style>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  9: { strike: true },
  21: { underline: true },
  22: { bold: false, dim: false },
  23: { italic: false },
  24: { underline: false },
  27: { inverse: false },
  29: { strike: false },
  39: { foreground: null },
  49: { background: null },
};

/** The effect of the sequence `ESC [ parameters m`. Unknown parameters have none. */
export function select(parameters: string): Style {
  return remembered(selected, parameters, () => readParameters(parameters));
}

function readParameters(parameters: string): Style {
  const list = parameters.split(";", MAX_PARAMETERS);
  let result = UNCHANGED;
  for (let at = 0; at < list.length; at++) {
    const text = list[at] ?? "";
    const parts = text.split(":");
    const code = parts[0] === "" ? 0 : Number(parts[0]);
    if (code === 0) {
      result = RESET;
    } else if (code === 38 || code === 48) {
      const inColons = parts.length > 1;
      const { colour, used } = inColons
        ? colourOf(parts.slice(1), true)
        : colourOf(list.slice(at + 1, at + 5), false);
      if (!inColons) at += used;
      if (colour !== undefined)
        result = combine(result, code === 38 ? { foreground: colour } : { background: colour });
    } else if (code === 4 && parts[1] === "0") {
      result = combine(result, { underline: false });
    } else {
      const change = SIMPLE[code] ?? coloured(code);
      if (change !== undefined) result = combine(result, change);
    }
  }
  return result;
}

function coloured(code: number): Style | undefined {
  if (code >= 30 && code <= 37) return { foreground: code - 30 };
  if (code >= 40 && code <= 47) return { background: code - 40 };
  if (code >= 90 && code <= 97) return { foreground: code - 82 };
  if (code >= 100 && code <= 107) return { background: code - 92 };
  return undefined;
}

/** Reads what follows 38 or 48: `5;N`, `2;R;G;B`, or with colons also `2:SPACE:R:G:B`. */
function colourOf(parts: readonly string[], inColons: boolean): { colour?: number; used: number } {
  const byte = (text: string | undefined): number | undefined => {
    const value = text === undefined ? NaN : Number(text === "" ? "0" : text);
    return Number.isInteger(value) && value >= 0 && value <= 255 ? value : undefined;
  };
  if (parts[0] === "5") {
    const colour = byte(parts[1]);
    return colour === undefined ? { used: 2 } : { colour, used: 2 };
  }
  if (parts[0] !== "2") return { used: 0 };
  const first = inColons && parts.length >= 5 ? 2 : 1;
  const [red, green, blue] = [byte(parts[first]), byte(parts[first + 1]), byte(parts[first + 2])];
  if (red === undefined || green === undefined || blue === undefined) return { used: 4 };
  return { colour: RGB + red * 0x10000 + green * 0x100 + blue, used: 4 };
}

/** The levels of the palette's 6x6x6 colours. */
const LEVELS = [0, 95, 135, 175, 215, 255];

/** Returns a colour in CSS. The first 16 are the page's, which differ in light and dark, and for text and what is behind it. */
export function cssColour(colour: number, use: "colour" | "fill" = "colour"): string {
  if (colour >= RGB) {
    const rgb = colour - RGB;
    return `rgb(${rgb >> 16} ${(rgb >> 8) & 255} ${rgb & 255})`;
  }
  if (colour < 16) return `var(--log-${use}-${use === "fill" ? colour % 8 : colour})`;
  if (colour >= 232) {
    const grey = 8 + (colour - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const cube = colour - 16;
  const level = (index: number): number => LEVELS[index % 6] ?? 0;
  return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6))} ${level(cube)})`;
}
