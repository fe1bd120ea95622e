// Reads CBOR (RFC 8949) as far as docs/protocol.md uses it: whole numbers, bytes, texts, arrays, booleans and null, of definite
// lengths.

/** The items of a sequence (RFC 8742). Numbers above 2^53 lose their last digits. */
export function* items(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const [item, end] = read(bytes, at);
    yield item;
    at = end;
  }
}

/** The item at a position, and where it ends. */
function read(bytes, at) {
  const [number, from] = head(bytes, at);
  switch (bytes[at] >> 5) {
    case 0:
      return [number, from];
    case 2:
      return [bytes.subarray(from, from + number), from + number];
    case 3:
      return [bytes.toString("utf8", from, from + number), from + number];
    case 4: {
      const list = [];
      let end = from;
      while (list.length < number) {
        const [item, next] = read(bytes, end);
        list.push(item);
        end = next;
      }
      return [list, end];
    }
    case 7:
      return [{ 20: false, 21: true, 22: null }[number], from];
    default:
      throw new Error(`nothing begins with ${bytes[at]}`);
  }
}

/** The number that an item begins with, and where that ends. */
function head(bytes, at) {
  const short = bytes[at] & 0x1f;
  if (short < 24) return [short, at + 1];
  const width = 2 ** (short - 24);
  return [Number(BigInt(`0x${bytes.toString("hex", at + 1, at + 1 + width)}`)), at + 1 + width];
}
