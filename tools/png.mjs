// Owns making a screenshot small: a PNG with 24 bits a pixel becomes one with a palette of 256 colours. Screenshots of pages have
// few colours and many shades at the edges of letters, so that the difference is not seen. Reads what Chromium writes, and no other PNG.

import { deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const MOST_COLOURS = 256;

/** The same picture with a palette. */
export function shrinkPng(png) {
  const { width, height, pixels } = decode(png);
  const { palette, indexOf } = choosePalette(pixels);
  const rows = Buffer.alloc(height * (width + 1));
  for (let y = 0, from = 0, to = 0; y < height; y += 1) {
    rows[to++] = 0;
    for (let x = 0; x < width; x += 1, from += 3) rows[to++] = indexOf((pixels[from] << 16) | (pixels[from + 1] << 8) | pixels[from + 2]);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const parts = [["IHDR", header], ["PLTE", Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]))], ["IDAT", deflateSync(rows, { level: 9 })], ["IEND", Buffer.alloc(0)]];
  return Buffer.concat([SIGNATURE, ...parts.map(([type, data]) => chunk(type, data))]);
}

/** Rows of red, green and blue. */
function decode(png) {
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new Error("This is no PNG.");
  const chunks = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) chunks.push([png.toString("latin1", at + 4, at + 8), png.subarray(at + 8, at + 8 + png.readUInt32BE(at))]);
  const [, header] = chunks[0];
  const [width, height, depth, kind, , , interlace] = [header.readUInt32BE(0), header.readUInt32BE(4), ...header.subarray(8)];
  const channels = { 2: 3, 6: 4 }[kind];
  if (depth !== 8 || !channels || interlace) throw new Error("This PNG is of another kind than Chromium writes.");
  const data = inflateSync(Buffer.concat(chunks.filter(([type]) => type === "IDAT").map(([, part]) => part)));
  return { width, height, pixels: withoutAlpha(unfilter(data, width * channels, height, channels), channels) };
}

/** Undoes the filter of each row: PNG stores differences to the neighbours on the left and above. */
function unfilter(data, length, height, channels) {
  const out = Buffer.alloc(length * height);
  for (let y = 0; y < height; y += 1) {
    const filter = data[y * (length + 1)];
    for (let x = 0; x < length; x += 1) {
      const at = y * length + x;
      const left = x >= channels ? out[at - channels] : 0;
      const above = y > 0 ? out[at - length] : 0;
      const corner = x >= channels && y > 0 ? out[at - length - channels] : 0;
      const predicted = [0, left, above, (left + above) >> 1, nearest(left, above, corner)][filter];
      out[at] = data[y * (length + 1) + 1 + x] + predicted;
    }
  }
  return out;
}

/** Paeth's predictor: the neighbour that is nearest to left + above - corner. */
function nearest(left, above, corner) {
  const [toLeft, toAbove, toCorner] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

function withoutAlpha(bytes, channels) {
  if (channels === 3) return bytes;
  const out = Buffer.alloc((bytes.length / 4) * 3);
  for (let from = 0, to = 0; from < bytes.length; from += 4, to += 3) bytes.copy(out, to, from, from + 3);
  return out;
}

/** The most frequent colours. Another one becomes the nearest of them. */
function choosePalette(pixels) {
  const counts = new Map();
  for (let at = 0; at < pixels.length; at += 3) {
    const colour = (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const palette = [];
  // A shade next to a colour that is there already is left to that colour, so that logos keep theirs.
  for (const [colour] of [...counts].sort(([, one], [, other]) => other - one)) {
    if (palette.length === MOST_COLOURS) break;
    if (palette.every((other) => distance(colour, other) > 24)) palette.push(colour);
  }
  const known = new Map();
  const indexOf = (colour) => {
    let index = known.get(colour);
    if (index === undefined) {
      index = 0;
      for (let at = 1; at < palette.length; at += 1) if (distance(colour, palette[at]) < distance(colour, palette[index])) index = at;
      known.set(colour, index);
    }
    return index;
  };
  return { palette, indexOf };
}

const distance = (one, other) => ((one >> 16) - (other >> 16)) ** 2 + (((one >> 8) & 255) - ((other >> 8) & 255)) ** 2 + ((one & 255) - (other & 255)) ** 2;

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(checksum(body), body.length + 4);
  return out;
}

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** CRC-32, as PNG has it behind each chunk. */
function checksum(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
