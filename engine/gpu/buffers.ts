/**
 * Allocates and fills the buffers that kernels bind: checks sizes, counts memory and names the
 * buffer in errors.
 */

import { DeviceError } from "../errors.ts";
import { type BufferPurpose, type Gpu, oneLine } from "./device.ts";

// Bytes to write before a flush. Staging memory is freed only by a submit, and the process keeps
// the peak, so writing more at once would raise the peak memory of a load.
const FLUSH_BYTES = 4 << 20;

/** Returns the size in bytes of the largest buffer that the adapter can allocate and bind. */
export function largestBuffer({ limits }: Gpu): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

/**
 * Allocates a zeroed storage (or uniform) buffer of `bytes`, rounded up to a multiple of 16, the
 * size of a vec4.
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
      `Cannot allocate the buffer '${label}' of ${size} bytes: ${gpu.description} allows at most ${most}`,
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

/** Frees a buffer and subtracts it from the memory count. */
export function destroyBuffer(gpu: Gpu, buffer: GPUBuffer, purpose: BufferPurpose): void {
  gpu.memory[purpose] -= buffer.size;
  buffer.destroy();
}

/**
 * Runs `make`, then waits for the device's error scopes. `make` must issue all its commands before
 * it returns.
 *
 * @throws {DeviceError} "out-of-memory" if there was not enough memory.
 * @throws {Error} if the device refused a kernel or a command.
 */
export async function withMemoryCheck<T>(gpu: Gpu, what: string, make: () => T): Promise<T> {
  const { device } = gpu;
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  // Pop both at once, so that no other caller's scope comes in between.
  const pop = () => Promise.all([device.popErrorScope(), device.popErrorScope()]);
  let result: T;
  try {
    result = make();
  } catch (error) {
    await pop();
    throw error;
  }
  const [refused, noRoom] = await pop();
  // Checked first: a buffer without memory is invalid, and its use is refused as well.
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

/** Writes to buffers, and flushes regularly to free the staging memory. */
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
        `Cannot write ${data.byteLength} bytes at offset ${offset} of the buffer '${buffer.label}': its size is ${buffer.size}`,
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

/** Allocates a buffer and writes `data` to it. */
export function bufferOf(
  gpu: Gpu,
  data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  { label, purpose }: { readonly label: string; readonly purpose: BufferPurpose },
): GPUBuffer {
  const buffer = createBuffer(gpu, { label, bytes: data.byteLength, purpose });
  new Uploader(gpu).write(buffer, 0, data);
  return buffer;
}
