# The image of the gateway: Node, the libraries it needs, and the gateway. Nothing else: no shell, no package manager, no
# file that runs with the rights of another user. How to build and run it: docs/container.md. `npm run image` builds it
# with its version in labels, the base pinned by digest, and twice the same.

# What is built is built in it, and Node is taken from it.
ARG NODE_IMAGE=docker.io/library/node:26-trixie-slim
ARG BUILD_IMAGE=$NODE_IMAGE

# 1. Files are taken from it. It is that of the processor the image is for, and nothing runs in it.
FROM $NODE_IMAGE AS base

# 2. Builds with everything, on the processor that is there: what comes out is the same for each.
FROM --platform=$BUILDPLATFORM $BUILD_IMAGE AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# Both secrets may be missing. They are for networks with a registry of their own, or a proxy that inspects TLS.
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
    npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json LICENSE ./
COPY scripts ./scripts
COPY src ./src
RUN --mount=type=bind,from=base,target=/base npm run build && node scripts/image/root-tree.ts /base /image

# 3. Two layers: one that changes with Node and Debian, one that changes with the gateway; and a folder.
FROM scratch
LABEL org.opencontainers.image.title="genesys-cloud-gateway" \
      org.opencontainers.image.description="Authenticating gateway for the Genesys Cloud Platform API" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /image/system /
COPY --from=build /image/app /app
# The file store, for grants with a user and for clients' handles, closed to others; mount a volume there to keep logins.
COPY --from=build --chown=1000:1000 /image/data /var/lib/
WORKDIR /app
# By number: Kubernetes takes no name where it must not run as root. Any other user does as well, with a store of its own.
USER 1000:1000
# In a container, callers come from outside its loopback: clients must authenticate, or the start is refused.
# Defaults of the image: what a mounted file says counts more, and so does GCG_SERVER_LISTEN. The drain ends before the
# 10 s after which `docker stop` kills.
ENV PATH=/usr/local/bin \
    NODE_ENV=production \
    GCG_DEFAULT_SERVER_LISTEN=0.0.0.0:8080 \
    GCG_DEFAULT_SERVER_DRAIN_TIMEOUT=8s \
    GCG_DEFAULT_STORE_PATH=/var/lib/genesys-cloud-gateway \
    MALLOC_ARENA_MAX=2 \
    MALLOC_TRIM_THRESHOLD_=131072
EXPOSE 8080
# Nothing is written but the store: run it with --read-only.
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["gcg", "healthcheck"]
# --disable-sigusr1: the inspector stays off whatever signal arrives. The others keep it small, see docs/performance.md.
ENTRYPOINT ["node", "--disable-sigusr1", "--max-semi-space-size=2", "--initial-old-space-size=48", "--no-maglev", "--wasm-tiering-budget=2000000000", "--expose-gc", "/app/dist/main.js"]
CMD ["serve"]
