# syntax=docker/dockerfile:1

# 1. Build with everything, then keep only what runs.
FROM node:26-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

# 2. The gateway: dist, which holds the packages it runs with, and the one that stays outside (WebAssembly).
FROM node:26-trixie-slim
LABEL org.opencontainers.image.title="genesys-cloud-gateway" \
      org.opencontainers.image.description="Authenticating gateway for the Genesys Cloud Platform API" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
# Compiled code, for the user that runs it: a start takes a sixth less. Root's, so that nothing can change it later. Made
# with the flags of the ENTRYPOINT: Node uses none that was made with others.
ENV NODE_COMPILE_CACHE=/app/compile-cache
RUN install -d -o node /app/compile-cache \
    && su -s /bin/sh node -c 'timeout --preserve-status -s TERM 5 node --disable-sigusr1 --max-semi-space-size=2 --no-maglev \
        dist/main.js demo >/dev/null' \
    && chown -R root:root /app/compile-cache && chmod -R a+rX /app/compile-cache
# The folder of the file store, for grants with a user and for clients' handles; mount a volume there to keep logins.
RUN mkdir -p /var/lib/genesys-cloud-gateway && chown node:node /var/lib/genesys-cloud-gateway
USER node
# In a container, callers come from outside its loopback: clients must authenticate, or the start is refused (see docs/operations.md).
# Defaults of the image: what a mounted file says counts more, and so does GCG_SERVER_LISTEN.
ENV GCG_DEFAULT_SERVER_LISTEN=0.0.0.0:8080 \
    GCG_DEFAULT_STORE_PATH=/var/lib/genesys-cloud-gateway \
    MALLOC_ARENA_MAX=2
EXPOSE 8080
# Nothing is written but the store: run it with --read-only.
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["node", "dist/main.js", "healthcheck"]
# --disable-sigusr1: the inspector stays off whatever signal arrives. The others keep it small, see docs/performance.md.
ENTRYPOINT ["node", "--disable-sigusr1", "--max-semi-space-size=2", "--no-maglev", "dist/main.js"]
CMD ["serve"]
