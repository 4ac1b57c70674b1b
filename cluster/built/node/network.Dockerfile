# What kube-proxy and podnet call.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends iptables ipset conntrack kmod iproute2 \
    && rm -rf /var/lib/apt/lists/*
