/** Counts the bytes of the GPU buffers that exist, of those created while it is active. */
export class BufferCounter implements Disposable {
  readonly live = new Map<GPUBuffer, number>();
  readonly #create = GPUDevice.prototype.createBuffer;
  readonly #destroy = GPUBuffer.prototype.destroy;

  constructor() {
    const { live } = this;
    const [create, destroy] = [this.#create, this.#destroy];
    GPUDevice.prototype.createBuffer = function (descriptor) {
      const buffer = create.call(this, descriptor);
      live.set(buffer, buffer.size);
      return buffer;
    };
    GPUBuffer.prototype.destroy = function () {
      live.delete(this);
      return destroy.call(this);
    };
  }

  get bytes(): number {
    return [...this.live.values()].reduce((a, b) => a + b, 0);
  }

  [Symbol.dispose](): void {
    GPUDevice.prototype.createBuffer = this.#create;
    GPUBuffer.prototype.destroy = this.#destroy;
  }
}
