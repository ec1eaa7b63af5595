/** loadModel(): what it refuses and when, and that it leaves nothing open after a failure. */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { loadModel, type LoadProgress, type ModelOptions, openModelFile } from "../../mod.ts";
import { withFile } from "../files/on_disk.ts";

// Number of devices that were opened to run a model, and of those that were destroyed.
let opened = 0;
let destroyed = 0;
const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = function (options) {
  if (options?.label === "tvllm") opened++;
  return requestDevice.call(this, options);
};
const { destroy } = GPUDevice.prototype;
GPUDevice.prototype.destroy = function () {
  if (this.label === "tvllm") destroyed++;
  return destroy.call(this);
};

/** Runs `use` with a loader of a tiny model with changed metadata, and counts devices from 0. */
async function withModel(
  changes: Record<string, string>,
  use: (load: (options?: ModelOptions) => ReturnType<typeof loadModel>) => Promise<void>,
): Promise<void> {
  const file = withFile("m.gguf", tinyModel("llama", "Q8_0"), openModelFile);
  const metadata = new Map([...file.metadata, ...Object.entries(changes)]);
  Object.defineProperty(file, "metadata", { value: metadata });
  [opened, destroyed] = [0, 0];
  try {
    await use((options) => loadModel(file, options));
  } finally {
    file.close();
  }
}

Deno.test("loadModel() refuses sizes that are not whole numbers of at least 1, and names the option", async () => {
  await withModel({}, async (load) => {
    for (const device of ["gpu", "cpu"] as const) {
      for (const name of ["contextLength", "maxSequences", "kvTokens", "steps"] as const) {
        for (const size of [0, -5, 2.5, NaN, Infinity]) {
          await assert.rejects(load({ device, [name]: size }), {
            name: "RequestError",
            message: `Cannot load the model: ${name} is ${size}, not a whole number of at least 1`,
          });
        }
      }
      await assert.rejects(load({ device, steps: 9 }), /steps is 9; the maximum is 8/);
      for (const kvMemory of [0, -1, NaN]) {
        await assert.rejects(load({ device, kvMemory }), {
          name: "RequestError",
          message: new RegExp(`^Cannot fit a KV cache into ${kvMemory} bytes: `),
        });
      }
    }
    assert.equal(opened, 0);
  });
});

Deno.test("loadModel() reports a faulty tokenizer before it opens a device", async () => {
  await withModel({ "tokenizer.ggml.pre": "nonsense" }, async (load) => {
    await assert.rejects(load(), /nonsense/);
    assert.equal(opened, 0);
  });
});

Deno.test("loadModel() destroys the device when the upload fails", async () => {
  await withModel({}, async (load) => {
    const progress = () => {
      throw new Error("no more");
    };
    await assert.rejects(load({ device: "gpu", progress }), /^Error: no more$/);
    assert.deepEqual([opened, destroyed], [1, 1]);
  });
});

for (const device of ["gpu", "cpu"] as const) {
  Deno.test(`loadModel() on the ${device} can be aborted while weights are read, and leaves no device open`, async () => {
    await withModel({}, async (load) => {
      const controller = new AbortController();
      const uploaded: number[] = [];
      const progress = ({ bytes, total }: LoadProgress) => {
        uploaded.push(bytes / total);
        // Aborts from the event loop, as a listener for an OS signal does.
        if (uploaded.length === 1) setImmediate(() => controller.abort(new Error("enough")));
      };
      const { signal } = controller;
      await assert.rejects(load({ device, progress, signal }), /^Error: enough$/);
      assert.ok(uploaded.at(-1)! < 1, String(uploaded));
      assert.equal(destroyed, opened);
    });
  });

  Deno.test(`loadModel() on the ${device} does not begin if its signal is already aborted`, async () => {
    await withModel({}, async (load) => {
      const signal = AbortSignal.abort(new Error("enough"));
      const uploaded: number[] = [];
      const progress = ({ bytes }: LoadProgress) => uploaded.push(bytes);
      await assert.rejects(load({ device, progress, signal }), /^Error: enough$/);
      assert.deepEqual(uploaded, []);
      assert.equal(destroyed, opened);
    });
  });
}

Deno.test("loadModel() detects that a buffer cannot be created before it uploads any", async () => {
  const { createBuffer } = GPUDevice.prototype;
  using stack = new DisposableStack();
  stack.defer(() => GPUDevice.prototype.createBuffer = createBuffer);
  GPUDevice.prototype.createBuffer = function (options) {
    const size = options.label?.startsWith("blk.1.ffn_down") ? 2 ** 45 : options.size;
    return createBuffer.call(this, { ...options, size });
  };
  await withModel({}, async (load) => {
    const uploaded: number[] = [];
    await assert.rejects(
      load({ device: "gpu", progress: ({ bytes }) => uploaded.push(bytes) }),
      /^Error: Cannot prepare the weights of .* refused it \(Buffer size/,
    );
    assert.deepEqual(uploaded, []);
  });
});

Deno.test("loadModel() destroys the device when it falls back to the CPU", async () => {
  const limits = GPUSupportedLimits.prototype;
  const name = "maxComputeWorkgroupStorageSize";
  const own = Object.getOwnPropertyDescriptor(limits, name)!;
  using stack = new DisposableStack();
  stack.defer(() => Object.defineProperty(limits, name, own));
  // loadModel() would not try a software adapter, so the adapter gets another name.
  const info = GPUAdapterInfo.prototype;
  for (const named of ["description", "device"]) {
    const own = Object.getOwnPropertyDescriptor(info, named)!;
    stack.defer(() => Object.defineProperty(info, named, own));
    Object.defineProperty(info, named, { ...own, get: () => "A GPU" });
  }
  await withModel({}, async (load) => {
    Object.defineProperty(limits, name, { ...own, get: () => 64 });
    const model = await load();
    assert.equal(model.runner.device.kind, "cpu");
    assert.match(model.fallback!, /^Cannot run the kernel .* bytes of workgroup memory/);
    assert.deepEqual([opened, destroyed], [1, 1]);
    model.runner.destroy();
  });
});
