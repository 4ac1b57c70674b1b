# The console: one program on Debian, the page within it, as nobody in particular. The context is a directory with the stripped binary.
FROM debian:bookworm-slim
RUN test -e /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*; }
COPY console /usr/local/bin/console
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/console"]
