// Writes the tokens as CSS custom properties; --check tests their contrast on white.
import { readFileSync, writeFileSync } from "node:fs";

const tokens = JSON.parse(readFileSync("tokens.json", "utf8"));

function luminance(hex) {
  const [r, g, b] = [1, 3, 5]
    .map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

if (process.argv.includes("--check")) {
  const pale = Object.entries(tokens).filter(([, hex]) => 1.05 / (luminance(hex) + 0.05) < 4.5);
  for (const [name] of pale) console.error(`${name} is too pale on white`);
  process.exitCode = pale.length ? 1 : 0;
} else {
  const lines = Object.entries(tokens).map(([name, hex]) => `  --${name}: ${hex};`);
  writeFileSync("theme.css", `:root {\n${lines.join("\n")}\n}\n`);
}
