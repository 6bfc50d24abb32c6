//! The label names of the catalogue.

/// The model that served the request, from a bounded set.
pub const MODEL_NAME: &str = "model_name";
/// The configured name of the upstream that it belongs to, or `none`.
pub const UPSTREAM: &str = "upstream";
/// The configured variant of that upstream, or `none`.
pub const VARIANT: &str = "variant";
/// The data-parallel rank of the engine; `0` where there is one.
pub const ENGINE: &str = "engine";
/// The configured name of a measured endpoint, never the raw path.
pub const ENDPOINT: &str = "endpoint";
/// `success`, `failure` or `aborted`.
pub const OUTCOME: &str = "outcome";
/// Why a request ended as it did, or why something was not read or not recorded.
pub const REASON: &str = "reason";
/// The HTTP status of the head that was sent, or `none`.
pub const CODE: &str = "code";
/// Why the generation stopped: `stop`, `length`, `tool_calls`, `content_filter`, `other`.
pub const FINISHED_REASON: &str = "finished_reason";
/// Where a token count came from; the name of a sampled source.
pub const SOURCE: &str = "source";
/// Where a running request stands: `queue`, `prefill` or `decode`.
pub const PHASE: &str = "phase";
/// The name of the label whose values were capped.
pub const LABEL: &str = "label";
/// The version of infermeter.
pub const VERSION: &str = "version";
/// The version of the compiler that built it.
pub const RUSTC: &str = "rustc";
/// The cargo features it was built with.
pub const FEATURES: &str = "features";
/// The tenant that a request belongs to, from a bounded set.
pub const TENANT: &str = "tenant";
/// Which tokens: `prompt` or `generation`.
pub const KIND: &str = "kind";
/// Token slots in one block of the KV cache.
pub const BLOCK_SIZE: &str = "block_size";
/// Blocks of the KV cache.
pub const NUM_GPU_BLOCKS: &str = "num_gpu_blocks";
/// How many LoRA adapters may be loaded at once.
pub const MAX_LORA: &str = "max_lora";
/// Names of the adapters whose requests run, with commas.
pub const RUNNING_LORA_ADAPTERS: &str = "running_lora_adapters";
/// Names of the adapters whose requests wait, with commas.
pub const WAITING_LORA_ADAPTERS: &str = "waiting_lora_adapters";
/// The number of a GPU, as its driver counts; of a MIG instance, that of its GPU.
pub const GPU: &str = "gpu";
/// The identity of a GPU or a MIG instance.
pub const UUID: &str = "uuid";
/// The name of a product.
pub const NAME: &str = "name";
/// Who makes a GPU.
pub const VENDOR: &str = "vendor";
/// Where a GPU is on the bus.
pub const PCI_BUS_ID: &str = "pci_bus_id";
/// The version of the driver.
pub const DRIVER_VERSION: &str = "driver_version";
/// The profile of a MIG instance.
pub const MIG_PROFILE: &str = "mig_profile";
/// The identity of the GPU that a MIG instance is a part of.
pub const PARENT_UUID: &str = "parent_uuid";
/// The number of a GPU instance; empty for a whole GPU.
pub const MIG_INSTANCE: &str = "mig_instance";
/// What a temperature is that of: `gpu` or `memory`.
pub const SENSOR: &str = "sensor";
/// What a clock is that of: `sm` or `memory`.
pub const DOMAIN: &str = "domain";
/// The code of an error that the driver of NVIDIA reports.
pub const XID: &str = "xid";
/// Whether an error was `corrected` or `uncorrected`.
pub const TYPE: &str = "type";
/// `transmit` or `receive`.
pub const DIRECTION: &str = "direction";
/// What GPUs are read by: `nvml`, or the name of a backend of your own.
pub const BACKEND: &str = "backend";
