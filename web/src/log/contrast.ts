// Colours that a program chose for a background of its own, made readable on the page's.

import { cssColour, RGB } from "./style";

type Channels = readonly [number, number, number];

/** Backgrounds of the log, as in the style sheet, and what colours are mixed with to stand out from them. */
const LIGHT = { background: [255, 255, 255], towards: [0, 0, 0] } as const;
const DARK = { background: [13, 16, 20], towards: [255, 255, 255] } as const;
/** The contrast that the guidelines for accessible content ask for. */
const MIN_CONTRAST = 4.5;
const STEPS = 20;

/** Returns a colour of text in CSS: for light and dark, as near to what was chosen as is readable. */
export function textColour(colour: number): string {
  if (colour < 16) return cssColour(colour);
  const chosen = channelsOf(colour);
  return `light-dark(${rgb(readable(chosen, LIGHT))}, ${rgb(readable(chosen, DARK))})`;
}

function channelsOf(colour: number): Channels {
  if (colour >= RGB) {
    const value = colour - RGB;
    return [value >> 16, (value >> 8) & 255, value & 255];
  }
  const [red = 0, green = 0, blue = 0] = (cssColour(colour).match(/\d+/g) ?? []).map(Number);
  return [red, green, blue];
}

function readable(chosen: Channels, { background, towards }: typeof LIGHT | typeof DARK): Channels {
  let mixed = chosen;
  for (let step = 1; step <= STEPS && contrast(mixed, background) < MIN_CONTRAST; step++) {
    const share = step / STEPS;
    const mix = (at: 0 | 1 | 2): number => Math.round(chosen[at] + (towards[at] - chosen[at]) * share);
    mixed = [mix(0), mix(1), mix(2)];
  }
  return mixed;
}

/** The contrast of two colours, from 1 to 21. */
export function contrast(first: Channels, second: Channels): number {
  const [one, other] = [luminance(first), luminance(second)];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}

function luminance([red, green, blue]: Channels): number {
  const linear = (value: number): number => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

function rgb(channels: Channels): string {
  return `rgb(${channels.join(" ")})`;
}
