//! Who a request belongs to, where the service says so.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    model::{LONGEST_LABEL, ModelId, OTHER},
    series::Fact,
};

/// The label of requests that belong to nobody.
const NONE: &str = "none";

/// Place of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TenantId(u16);

/// Tenants by label: at most `cap` of them, and [`OTHER`].
#[derive(Debug)]
pub(super) struct Tenants {
    labels: RwLock<Labels>,
    cap: u16,
    overflow: AtomicU64,
    tokens: RwLock<HashMap<(ModelId, TenantId), TenantTokens>>,
}

#[derive(Debug, Default)]
struct Labels {
    ids: HashMap<Arc<str>, TenantId>,
    all: Vec<Arc<str>>,
}

/// What the requests of one tenant and one model have used.
#[derive(Debug, Default)]
struct TenantTokens {
    prompt: Fact,
    generation: Fact,
}

// === impl TenantId ===

impl TenantId {
    pub(super) const fn place(self) -> u16 {
        self.0
    }
}

// === impl Tenants ===

impl Tenants {
    pub(super) fn new(cap: u16) -> Self {
        Self {
            labels: RwLock::default(),
            cap,
            overflow: AtomicU64::new(0),
            tokens: RwLock::default(),
        }
    }

    /// The place of a label, made if there is room for it, else that of `other`.
    pub(super) fn id(&self, label: Option<&str>) -> TenantId {
        let label = label.filter(|label| !label.is_empty()).unwrap_or(NONE);
        let labels = self.labels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = labels.ids.get(label) {
            return *id;
        }
        drop(labels);
        let mut labels = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have taken the last place for this very label.
        if let Some(id) = labels.ids.get(label) {
            return *id;
        }
        // NB: `none` and `other` take no place from the named ones.
        let is_named = |label: &str| ![NONE, OTHER].contains(&label);
        let named = labels.all.iter().filter(|known| is_named(known)).count();
        let is_full = named >= usize::from(self.cap) || label.len() > LONGEST_LABEL;
        if is_named(label) && is_full {
            self.overflow.fetch_add(1, Relaxed);
            return labels.id(OTHER);
        }
        labels.id(label)
    }

    pub(super) fn label(&self, id: TenantId) -> Arc<str> {
        let labels = self.labels.read().unwrap_or_else(PoisonError::into_inner);
        labels.all.get(usize::from(id.place())).cloned().unwrap_or_else(|| OTHER.into())
    }

    pub(super) fn used(&self, model: ModelId, tenant: TenantId, prompt: u64, generation: u64) {
        let add = |tokens: &TenantTokens| {
            tokens.prompt.add(prompt);
            tokens.generation.add(generation);
        };
        let key = (model, tenant);
        if let Some(tokens) = self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return add(tokens);
        }
        let mut all = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        add(all.entry(key).or_default());
    }

    /// Prompt and generated tokens of a tenant.
    pub(super) fn tokens(&self, model: ModelId, tenant: TenantId) -> [u64; 2] {
        let all = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&(model, tenant)).map_or([0; 2], |TenantTokens { prompt, generation }| {
            [prompt.read(), generation.read()]
        })
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.load(Relaxed)
    }
}

// === impl Labels ===

impl Labels {
    fn id(&mut self, label: &str) -> TenantId {
        if let Some(id) = self.ids.get(label) {
            return *id;
        }
        let (label, id): (Arc<str>, _) = (label.into(), TenantId(self.all.len() as u16));
        self.all.push(Arc::clone(&label));
        self.ids.insert(label, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_cap_is_other_and_counted() {
        let tenants = Tenants::new(2);
        let labels = ["", "a", "b", "c", "a", "none", "other", "d"];
        let ids = labels.map(|label| tenants.label(tenants.id(Some(label))));
        let ids: Vec<&str> = ids.iter().map(|label| &**label).collect();
        assert_eq!(ids, ["none", "a", "b", "other", "a", "none", "other", "other"]);
        assert_eq!(&*tenants.label(tenants.id(None)), "none");
        assert_eq!(tenants.overflow(), 2);
    }

    #[test]
    fn threads_that_ask_for_the_last_place_at_once_all_get_it() {
        for _ in 0..500 {
            let tenants = Tenants::new(1);
            let ready = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        ready.wait();
                        tenants.id(Some("a"));
                    });
                }
            });
            assert_eq!(tenants.overflow(), 0);
        }
    }

    #[test]
    fn a_label_that_is_too_long_is_other() {
        let tenants = Tenants::new(2);
        let long = "x".repeat(LONGEST_LABEL + 1);
        assert_eq!(&*tenants.label(tenants.id(Some(&long))), "other");
        assert_eq!(&*tenants.label(tenants.id(Some(&long[1..]))), &long[1..]);
        assert_eq!(tenants.overflow(), 1);
    }
}
