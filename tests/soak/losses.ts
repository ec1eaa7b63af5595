/** Ways to lose a device while it serves. */

import { DeviceError } from "../../engine/errors.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import type { ModelRunner } from "../../engine/run/runner.ts";

type Loss<R> = (runner: R) => void;

/** Losses for any backend, reported by its runner. */
const REPORTED: Readonly<Record<string, Loss<ModelRunner>>> = {
  "a step is refused": (runner) => {
    runner.submit = () => {
      throw new DeviceError("lost", "Cannot run the batch: the device was lost");
    };
  },
  "a step cannot be read": (runner) => {
    const submit = runner.submit.bind(runner);
    runner.submit = (batch) => {
      const step = submit(batch);
      return {
        read: async () => {
          await step.read();
          throw new DeviceError("lost", "Cannot read the step: the device was lost");
        },
      };
    };
  },
};

/** Losses for a GPU: of the device itself, and errors that engine/gpu receives from it. */
const GPU: Readonly<Record<string, Loss<GpuRunner>>> = {
  "the device is destroyed": ({ gpu }) => gpu.device.destroy(),
  "the device has no memory left": ({ gpu }) => {
    const error = new GPUOutOfMemoryError("not enough memory left");
    gpu.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
  },
  "a buffer cannot be mapped": ({ readback }) => {
    readback.copy = () => () => Promise.reject(new Error("mapping failed"));
  },
};

/** Makes the runner lose its device. `number` selects the ways in turn. Returns the way's name. */
export function lose(runner: ModelRunner, number: number): string {
  const isGpu = runner instanceof GpuRunner;
  const losses = Object.entries<Loss<GpuRunner>>(
    isGpu ? { ...GPU, ...REPORTED } : {
      ...REPORTED as Record<string, Loss<GpuRunner>>,
    },
  );
  const [how, loss] = losses[number % losses.length]!;
  loss(runner as GpuRunner);
  return how;
}
