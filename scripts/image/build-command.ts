// The command lines that build the image's Dockerfile, for each of the builders it may be built with. Runs nothing.

export const BUILDERS = ['buildah', 'podman', 'docker'] as const;
export type Builder = (typeof BUILDERS)[number];

/** One build for one processor. */
export interface ImageBuild {
  readonly builder: Builder;
  /** Folder of the checkout. */
  readonly context: string;
  readonly tag: string;
  /** As `linux/arm64`. */
  readonly platform: string;
  /** As `linux/amd64`: where the build stage runs. */
  readonly buildPlatform: string;
  /** The image that Node and its libraries are taken from. */
  readonly base: string;
  /** The one that the build stage runs in: the same, unless it is none for both processors. */
  readonly buildBase: string;
  /** Seconds since 1970: the time of all that is in the image. */
  readonly epoch: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Files that npm is given for as long as it runs, by the names the Dockerfile mounts them by. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Where the id of what was built is written to. */
  readonly idFile: string;
}

/** The program and its arguments. */
export function buildCommand(build: ImageBuild): string[] {
  const labels = Object.entries(build.labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]);
  const secrets = Object.entries(build.secrets).flatMap(([id, path]) => ['--secret', `id=${id},src=${path}`]);
  const base = ['--build-arg', `NODE_IMAGE=${build.base}`, '--build-arg', `BUILD_IMAGE=${build.buildBase}`];
  const common = ['--platform', build.platform, ...base, ...labels, ...secrets, '--iidfile', build.idFile];
  if (build.builder === 'docker') {
    return [
      ...['docker', 'buildx', 'build', ...common],
      ...['--build-arg', `SOURCE_DATE_EPOCH=${build.epoch}`],
      // Provenance holds the time of the build. A release makes its own, see the workflow.
      '--provenance=false',
      ...['--output', `type=docker,name=${build.tag},rewrite-timestamp=true`, build.context],
    ];
  }
  return [
    ...[build.builder, 'build', ...common],
    // Buildah before 1.30 does not set it by itself.
    ...['--build-arg', `BUILDPLATFORM=${build.buildPlatform}`],
    // In layers, as the Dockerfile has them; none of an earlier build, which has another time. The format of OCI has no
    // health check.
    ...['--layers', '--no-cache', '--identity-label=false', '--format', 'docker', '--timestamp', String(build.epoch)],
    ...['--tag', build.tag, build.context],
  ];
}

/** Environment of the builder: BuildKit takes the time of the image itself from there. */
export function buildEnvironment(env: NodeJS.ProcessEnv, epoch: number): NodeJS.ProcessEnv {
  return { ...env, DOCKER_BUILDKIT: '1', SOURCE_DATE_EPOCH: String(epoch) };
}

/** As builders name the processor that Node calls `arch`. Throws for those the base image is not made for. */
export function platformOf(arch: string): string {
  const name = { x64: 'amd64', arm64: 'arm64' }[arch];
  if (name === undefined) throw new Error(`there is no base image for ${arch}: say --platform linux/amd64`);
  return `linux/${name}`;
}
