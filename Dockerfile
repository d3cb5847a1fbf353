# The image of Lamina: the store's nodes, the command line, and the operator. It holds the programs, the shared libraries that
# they name, and a user: no shell, no package manager. `cargo xtask image` makes the same one without pulling anything.
#
#   docker build -t lamina:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,id=lamina-target \
    CARGO_TARGET_DIR=/target cargo build --locked --profile dist --package lamina-cli --package lamina-operator && \
    install -D --strip /target/dist/lamina /out/usr/bin/lamina && \
    install -D --strip /target/dist/lamina-operator /out/usr/bin/lamina-operator
RUN ldd /out/usr/bin/* | tr ' \t' '\n\n' | grep '^/[^:]*$' | sort -u \
      | xargs cp --parents --dereference --target-directory /out && \
    mkdir -p /out/etc /out/data /out/tmp && \
    echo 'root:x:0:0:root:/:/sbin/nologin' > /out/etc/passwd && \
    echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >> /out/etc/passwd && \
    printf 'root:x:0:\nnonroot:x:65532:\n' > /out/etc/group && \
    echo 'hosts: files dns' > /out/etc/nsswitch.conf

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/bin/lamina"]
