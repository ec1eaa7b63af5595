/** Makes and fills the buffers that kernels bind: sizes checked, memory counted, failures named. */

import { DeviceError } from "../errors.ts";
import { type BufferPurpose, type Gpu, oneLine } from "./device.ts";

// Staging memory is freed at a submit, and stays with the process: it adds to a load's peak.
const FLUSH_BYTES = 4 << 20;

/** Bytes of the largest buffer that the adapter makes and binds. */
export function largestBuffer({ limits }: Gpu): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

/**
 * Makes a storage (or uniform) buffer of `bytes` (rounded up to 16, the size of a vec4), zeroed.
 *
 * @throws {DeviceError} "out-of-memory" if it exceeds what the adapter can bind.
 */
export function createBuffer(
  gpu: Gpu,
  { label, bytes, purpose }: {
    readonly label: string;
    readonly bytes: number;
    readonly purpose: BufferPurpose;
  },
): GPUBuffer {
  const size = Math.max(16, Math.ceil(bytes / 16) * 16);
  const most = largestBuffer(gpu);
  if (size > most) {
    throw new DeviceError(
      "out-of-memory",
      `Cannot make the buffer '${label}' of ${size} bytes: ${gpu.description} allows at most ${most}`,
    );
  }
  gpu.memory[purpose] += size;
  return gpu.device.createBuffer({
    label,
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST |
      GPUBufferUsage.COPY_SRC,
  });
}

/** Frees a buffer and takes it off the account. */
export function destroyBuffer(gpu: Gpu, buffer: GPUBuffer, purpose: BufferPurpose): void {
  gpu.memory[purpose] -= buffer.size;
  buffer.destroy();
}

/**
 * Runs `make`, which must make what it makes before it returns, and waits for the device's verdict.
 *
 * @throws {DeviceError} "out-of-memory" if there was no room.
 * @throws {Error} if the device refused a kernel or a command.
 */
export async function withMemoryCheck<T>(gpu: Gpu, what: string, make: () => T): Promise<T> {
  const { device } = gpu;
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  // Both at once, so that scopes of others do not come between.
  const pop = () => Promise.all([device.popErrorScope(), device.popErrorScope()]);
  let result: T;
  try {
    result = make();
  } catch (error) {
    await pop();
    throw error;
  }
  const [refused, noRoom] = await pop();
  // What has no room is invalid, and its use refused.
  if (noRoom) {
    const total = Object.values(gpu.memory).reduce((a, b) => a + b, 0);
    throw new DeviceError(
      "out-of-memory",
      `Cannot allocate ${what}: ${gpu.description} ran out of memory after ${total} bytes (${
        oneLine(noRoom)
      })`,
    );
  }
  if (refused) {
    throw new Error(`Cannot prepare ${what}: ${gpu.description} refused it (${oneLine(refused)})`);
  }
  return result;
}

/** Writes to buffers in pieces, freeing the staging memory behind it as it goes. */
export class Uploader {
  #pending = 0;
  constructor(readonly gpu: Gpu) {}

  /** Writes `data` at byte `offset`, a multiple of 4; an empty `data` writes nothing. */
  write(
    buffer: GPUBuffer,
    offset: number,
    data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  ): void {
    // An empty or overlong write kills the process instead of failing.
    if (data.byteLength === 0) return;
    if (offset + data.byteLength > buffer.size) {
      throw new RangeError(
        `Cannot write ${data.byteLength} bytes at ${offset} of '${buffer.label}' (size ${buffer.size})`,
      );
    }
    this.gpu.device.queue.writeBuffer(buffer, offset, data);
    this.gpu.copied.toDevice += data.byteLength;
    this.#pending += data.byteLength;
    if (this.#pending >= FLUSH_BYTES) this.flush();
  }

  flush(): void {
    this.gpu.device.queue.submit([]);
    this.#pending = 0;
  }
}

/** Makes a buffer that holds `data`. */
export function bufferOf(
  gpu: Gpu,
  data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  { label, purpose }: { readonly label: string; readonly purpose: BufferPurpose },
): GPUBuffer {
  const buffer = createBuffer(gpu, { label, bytes: data.byteLength, purpose });
  new Uploader(gpu).write(buffer, 0, data);
  return buffer;
}
