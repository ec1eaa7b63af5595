/** Small handmade executables that stand in for denort. */

/** Machine numbers in ELF headers. */
const X86_64 = 62;
export const ARM64 = 183;

/** Headers of 64-bit executables. They are enough to recognize the kind, but cannot run. */
export const HEADERS: Readonly<Record<string, Uint8Array>> = {
  "ELF for x86-64": elfHeader(X86_64),
  "ELF for arm64": elfHeader(ARM64),
  "Mach-O for x86-64": machHeader(0x0100_0007),
  "Mach-O for arm64": machHeader(0x0100_000c),
  "PE for x86-64": peHeader(0x8664),
};

function elfHeader(machine: number): Uint8Array {
  const bytes = new Uint8Array(64);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // 64 bits, little-endian, version
  const view = new DataView(bytes.buffer);
  view.setUint16(16, 2, true); // executable
  view.setUint16(18, machine, true);
  return bytes;
}

function machHeader(machine: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, 0xfeed_facf, true);
  view.setUint32(4, machine, true);
  return new Uint8Array(view.buffer);
}

function peHeader(machine: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(128));
  view.setUint16(0, 0x5a4d, true); // MZ
  view.setUint32(0x3c, 64, true);
  view.setUint32(64, 0x4550, true); // PE\0\0
  view.setUint16(68, machine, true);
  return new Uint8Array(view.buffer);
}

/**
 * Returns a Linux program that prints `text` and exits with 0. Its code is for x86-64; another
 * `machine` changes only the header.
 */
export function printingElf(text: string, machine = X86_64): Uint8Array {
  const message = new TextEncoder().encode(text);
  const [base, codeAt] = [0x400000, 120];
  // write(1, message, length); exit(0). The message follows the code.
  const code = [
    ...[0xb8, 1, 0, 0, 0], // mov eax, 1
    ...[0xbf, 1, 0, 0, 0], // mov edi, 1
    ...[0x48, 0x8d, 0x35, 16, 0, 0, 0], // lea rsi, [rip + 16]
    ...[0xba, message.length & 255, message.length >> 8, 0, 0], // mov edx, length
    ...[0x0f, 0x05], // syscall
    ...[0xb8, 60, 0, 0, 0], // mov eax, 60
    ...[0x31, 0xff], // xor edi, edi
    ...[0x0f, 0x05], // syscall
  ];
  const bytes = new Uint8Array(codeAt + code.length + message.length);
  bytes.set(elfHeader(machine));
  const view = new DataView(bytes.buffer);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(base + codeAt), true); // entry point
  view.setBigUint64(32, 64n, true); // the one program header
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // to be loaded (PT_LOAD)
  view.setUint32(68, 5, true); // readable and executable
  view.setBigUint64(80, BigInt(base), true);
  view.setBigUint64(88, BigInt(base), true);
  view.setBigUint64(96, BigInt(bytes.length), true);
  view.setBigUint64(104, BigInt(bytes.length), true);
  view.setBigUint64(112, 4096n, true);
  bytes.set(code, codeAt);
  bytes.set(message, codeAt + code.length);
  return bytes;
}
