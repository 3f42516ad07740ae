//! Native eBPF against wasm, on the same kernel, at the same time.
