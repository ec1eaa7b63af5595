import assert from "node:assert/strict";
import { DeviceError } from "../../engine/errors.ts";
import { withMemoryCheck } from "../../engine/gpu/buffers.ts";
import { type Gpu, openGpu } from "../../engine/gpu/device.ts";

const gpu = await openGpu();

/** The device with scripted errors: an error scope returns the error for its filter. */
function scripted(errors: Partial<Record<GPUErrorFilter, GPUError>>): Gpu {
  const scopes: GPUErrorFilter[] = [];
  const device = {
    pushErrorScope: (filter: GPUErrorFilter) => void scopes.push(filter),
    popErrorScope: () => Promise.resolve(errors[scopes.pop()!] ?? null),
  };
  const memory = { weights: 70, kv: 20, scratch: 9, readback: 1 };
  return { ...gpu, device: device as unknown as GPUDevice, description: "this GPU", memory };
}

Deno.test("withMemoryCheck() distinguishes lack of memory from what the device refuses", async () => {
  const noRoom = new GPUOutOfMemoryError("not enough\n memory left");
  const refused = new GPUValidationError("it is invalid");
  assert.equal(await withMemoryCheck(scripted({}), "it", () => 7), 7);
  await assert.rejects(
    withMemoryCheck(scripted({ validation: refused }), "the weights", () => 7),
    (error) =>
      !(error instanceof DeviceError) &&
      String(error) === "Error: Cannot prepare the weights: this GPU refused it (it is invalid)",
  );
  // A buffer for which there is no memory is also invalid, so both errors can occur.
  for (const errors of [{}, { validation: refused }]) {
    await assert.rejects(
      withMemoryCheck(scripted({ "out-of-memory": noRoom, ...errors }), "the weights", () => 7),
      (error) =>
        error instanceof DeviceError && error.kind === "out-of-memory" &&
        error.message ===
          "Cannot allocate the weights: this GPU ran out of memory after 100 bytes (not enough memory left)",
    );
  }
});

Deno.test("withMemoryCheck() reports why a kernel does not compile, and catches no other error", async () => {
  const make = () => gpu.device.createShaderModule({ label: "wrong", code: "fn ((" });
  await assert.rejects(withMemoryCheck(gpu, "the kernels", make), /^Error: Cannot prepare the /);
  const fails = () => {
    throw new SyntaxError("own");
  };
  await assert.rejects(withMemoryCheck(gpu, "the kernels", fails), /^SyntaxError: own$/);
  // One check fails while another one waits for its result.
  const good = withMemoryCheck(gpu, "the first", () => 1);
  const bad = withMemoryCheck(gpu, "the second", make);
  assert.equal(await good, 1);
  await assert.rejects(bad, /^Error: Cannot prepare the second: /);
  assert.equal(gpu.failure, undefined);
});
