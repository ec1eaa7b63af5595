/**
 * Creates pipelines from kernel specs. Each is compiled once, with an explicit layout so that bind
 * groups can be shared.
 */

import { DeviceError } from "../errors.ts";
import type { Pause } from "../run/event_loop.ts";
import { type BindingKind, kernelKey, kernelSource, type KernelSpec } from "../../kernels/spec.ts";
import { withMemoryCheck } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** A kernel and the layout of its bindings. */
export interface Pipeline {
  readonly spec: KernelSpec;
  readonly layout: GPUBindGroupLayout;
  /** Returns the compiled pipeline; compiles it on the first call. */
  compiled(): GPUComputePipeline;
}

/** Compiles and keeps the kernels of one device. */
export class Pipelines {
  readonly #byKey = new Map<string, Pipeline>();
  readonly #uncompiled = new Set<Pipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #bound = new WeakMap<GPUBindGroup, Readonly<Record<number, GPUBuffer>>>();
  readonly #modules = new Map<string, GPUShaderModule>();

  /** `stepBytes`: size of a "step" binding, which is a part of the metadata buffer. */
  constructor(readonly gpu: Gpu, readonly stepBytes: number) {}

  #milliseconds = 0;

  /** Number of compiled kernels. */
  get count(): number {
    return this.#byKey.size - this.#uncompiled.size;
  }

  /**
   * Time that compiling them took, in ms. (createComputePipelineAsync also does all its work in the
   * call.)
   */
  get milliseconds(): number {
    return this.#milliseconds;
  }

  /**
   * Returns the pipeline for `spec`, without compiling it.
   *
   * @throws {DeviceError} "no-adapter" if its workgroups exceed the adapter's limits.
   */
  get(spec: KernelSpec): Pipeline {
    const key = kernelKey(spec);
    let found = this.#byKey.get(key);
    if (found === undefined) {
      this.#check(spec);
      const layout = this.#layout(spec.bindings);
      let compiled: GPUComputePipeline | undefined;
      const pipeline: Pipeline = found = {
        spec,
        layout,
        compiled: () => {
          if (compiled === undefined) {
            compiled = this.#compile(pipeline);
            this.#uncompiled.delete(pipeline);
          }
          return compiled;
        },
      };
      this.#uncompiled.add(pipeline);
      this.#byKey.set(key, pipeline);
    }
    return found;
  }

  /**
   * Compiles all pipelines that `get` has returned. On a software driver, one kernel may take half
   * a second and all kernels of a model several seconds, so it pauses before each.
   *
   * @throws {Error} if the device refuses a kernel.
   */
  async compileAll(pause: Pause): Promise<void> {
    for (const pipeline of this.#uncompiled) {
      await pause();
      const kernel = `the kernel ${pipeline.spec.name}`;
      await withMemoryCheck(this.gpu, kernel, () => pipeline.compiled());
    }
  }

  /** Creates a bind group for a kernel from `buffers`, by binding number. */
  bind(pipeline: Pipeline, buffers: Readonly<Record<number, GPUBuffer>>): GPUBindGroup {
    const group = this.gpu.device.createBindGroup({
      label: pipeline.spec.name,
      layout: pipeline.layout,
      entries: Object.entries(pipeline.spec.bindings).map(([number, kind]) => {
        const buffer = buffers[Number(number)];
        if (buffer === undefined) {
          throw new RangeError(
            `Cannot bind ${pipeline.spec.name}: no buffer for binding ${number}`,
          );
        }
        return {
          binding: Number(number),
          resource: kind === "step" ? { buffer, size: this.stepBytes } : { buffer },
        };
      }),
    });
    this.#bound.set(group, buffers);
    return group;
  }

  /** Returns the buffers from which `bind` created the group, by binding number. */
  boundTo(group: GPUBindGroup): Readonly<Record<number, GPUBuffer>> {
    return this.#bound.get(group)!;
  }

  #compile({ spec, layout }: Pipeline): GPUComputePipeline {
    const started = performance.now();
    const { device } = this.gpu;
    const pipeline = device.createComputePipeline({
      label: spec.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: this.#module(spec),
        entryPoint: "main",
        constants: { ...spec.overrides },
      },
    });
    this.#milliseconds += performance.now() - started;
    return pipeline;
  }

  #module(spec: KernelSpec): GPUShaderModule {
    const code = kernelSource(spec);
    let module = this.#modules.get(code);
    if (module === undefined) {
      module = this.gpu.device.createShaderModule({ label: spec.name, code });
      this.#modules.set(code, module);
    }
    return module;
  }

  #layout(bindings: KernelSpec["bindings"]): GPUBindGroupLayout {
    const key = JSON.stringify(bindings);
    let layout = this.#layouts.get(key);
    if (layout === undefined) {
      layout = this.gpu.device.createBindGroupLayout({
        label: key,
        entries: Object.entries(bindings).map(([number, kind]) => ({
          binding: Number(number),
          visibility: GPUShaderStage.COMPUTE,
          buffer: bufferLayout(kind),
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  // The device does not refuse sizes set by `override` that exceed its limits, so they are checked
  // here.
  #check(spec: KernelSpec): void {
    const { limits } = this.gpu;
    const [x, y] = spec.workgroupSize;
    const checks = [
      ["invocations per workgroup", x * y, limits.maxComputeInvocationsPerWorkgroup],
      ["bytes of workgroup memory", spec.workgroupBytes, limits.maxComputeWorkgroupStorageSize],
      [
        "storage buffers",
        Object.values(spec.bindings).filter((kind) => kind !== "uniform").length,
        limits.maxStorageBuffersPerShaderStage,
      ],
    ] as const;
    for (const [what, wanted, most] of checks) {
      if (wanted > most) {
        throw new DeviceError(
          "no-adapter",
          `Cannot run the kernel ${spec.name} on ${this.gpu.description}: it needs ${wanted} ${what}, but the adapter allows at most ${most}; use --device cpu`,
        );
      }
    }
  }
}

function bufferLayout(kind: BindingKind): GPUBufferBindingLayout {
  if (kind === "write") return { type: "storage" };
  if (kind === "uniform") return { type: "uniform" };
  if (kind === "read") return { type: "read-only-storage" };
  return { type: "read-only-storage", hasDynamicOffset: true };
}
