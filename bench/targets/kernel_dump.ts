/** The kernels that run a model on a GPU, as text: their WGSL, and how each is launched. */

import type { GpuRunner } from "../../engine/gpu/runner.ts";
import { kernelKey, kernelSource, type KernelSpec } from "../../kernels/spec.ts";
import { plural } from "../../engine/plural.ts";

/** How often a step launches a kernel with these workgroups. */
interface Launch {
  readonly step: string;
  readonly workgroups: string;
  readonly calls: number;
}

interface Kernel {
  readonly spec: KernelSpec;
  readonly launches: Launch[];
}

/**
 * The kernels of a decode step, of a full step of a prompt, and those that sampling needs in
 * addition, each once: comments with its launches and its `override` values, then the source that
 * is compiled.
 */
export function kernelDump(runner: Pick<GpuRunner, "launches" | "limits">): string {
  const kernels = new Map<string, Kernel>();
  const most = runner.limits.maxBatchTokens;
  const greedy = runner.launches(1, "decode");
  const known = new Set(greedy.map(({ pipeline }) => kernelKey(pipeline.spec)));
  const drawing = runner.launches(1, "draw")
    .filter(({ pipeline }) => !known.has(kernelKey(pipeline.spec)));
  for (
    const [step, launched] of [
      ["a decode step of one sequence", greedy],
      ["a step that also samples the token or adjusts its logits", drawing],
      [`a step of ${most} prompt ${plural(most, "token")}`, runner.launches(most, "prompt")],
    ] as const
  ) {
    const groups = Map.groupBy(
      launched,
      ({ pipeline, workgroups }) => `${kernelKey(pipeline.spec)} ${workgroups}`,
    );
    for (const own of groups.values()) {
      const { pipeline: { spec }, workgroups } = own[0]!;
      const key = kernelKey(spec);
      const kernel: Kernel = kernels.get(key) ?? { spec, launches: [] };
      kernel.launches.push({ step, workgroups: workgroups.join(" × "), calls: own.length });
      kernels.set(key, kernel);
    }
  }
  return [...kernels.values()].map(section).join("\n");
}

function section({ spec, launches }: Kernel): string {
  const { name, overrides, workgroupSize, workgroupBytes } = spec;
  const values = Object.entries(overrides).map(([key, value]) => `${key} = ${value}`);
  return [
    `// ==== ${name}`,
    `// workgroup: ${
      workgroupSize.join(" × ")
    } invocations, ${workgroupBytes} bytes of workgroup memory`,
    ...(values.length > 0 ? [`// overrides: ${values.join(", ")}`] : []),
    ...launches.map(({ step, workgroups, calls }) =>
      `// launched ${calls} × with ${workgroups} workgroups in ${step}`
    ),
    kernelSource(spec).trimEnd(),
    "",
  ].join("\n");
}
