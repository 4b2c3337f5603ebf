import { expect, it } from "vitest";
import { contrast, textColour } from "./contrast";
import { RGB } from "./style";

it("colours of text are readable in light and dark, and otherwise as chosen", () => {
  expect(textColour(3)).toBe("var(--log-colour-3)");
  expect(textColour(RGB + 0x808000)).toMatch(/^light-dark\(rgb\(\d+ \d+ 0\), rgb\(128 128 0\)\)$/);
  const colours = Array.from({ length: 240 }, (_, at) => at + 16);
  for (const colour of [...colours, RGB, RGB + 0x0a141e, RGB + 0xffffff, RGB + 0xffff00]) {
    const channels = (textColour(colour).match(/\d+/g) ?? []).map(Number);
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = channels;
    expect(channels.length).toBe(6);
    expect(contrast([a, b, c], [255, 255, 255]), String(colour)).toBeGreaterThanOrEqual(4.5);
    expect(contrast([d, e, f], [13, 16, 20]), String(colour)).toBeGreaterThanOrEqual(4.5);
  }
});
