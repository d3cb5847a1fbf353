# The image of Lamina: the store's nodes, the command line, and the operator. `cargo xtask image` makes the same one from programs
# that are built already, where no registry can be reached.
#
#   docker build -t lamina:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,id=lamina-target \
    CARGO_TARGET_DIR=/target cargo build --locked --profile dist --package lamina-cli --package lamina-operator && \
    install -D --strip /target/dist/lamina /out/target/dist/lamina && \
    install -D --strip /target/dist/lamina-operator /out/target/dist/lamina-operator

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/target/dist/lamina /usr/bin/lamina
COPY --from=build /out/target/dist/lamina-operator /usr/bin/lamina-operator
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/bin/lamina"]
