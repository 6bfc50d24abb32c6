//! `tests/data/pages`: what engines tell, and the page that comes of it.

use std::{collections::BTreeSet, fs};

use infermeter::engines::{EngineKind, Page};

use super::server::{Server, folder, page_of};

/// The folders, and which engine it is.
const PAGES: &[(&str, EngineKind)] = &[
    ("dynamo-frontend", EngineKind::Dynamo),
    ("dynamo-worker", EngineKind::Dynamo),
    ("hostile", EngineKind::Vllm),
    ("llamacpp", EngineKind::LlamaCpp),
    ("mistralrs", EngineKind::MistralRs),
    ("sglang", EngineKind::SgLang),
    ("sglang-ranks", EngineKind::SgLang),
    ("tgi", EngineKind::Tgi),
    ("triton", EngineKind::Triton),
    ("trtllm-serve", EngineKind::Triton),
    ("vllm-0.11", EngineKind::Vllm),
    ("vllm-0.32", EngineKind::Vllm),
    ("vllm-0.32-ranks", EngineKind::Vllm),
    ("vllm-0.6", EngineKind::Vllm),
    ("vllm-0.8", EngineKind::Vllm),
];

#[tokio::test]
async fn each_page_becomes_what_is_expected() {
    let (mut differs, is_update) = (Vec::new(), std::env::var("UPDATE_PAGES").is_ok());
    for (name, _) in PAGES {
        let page = page_of(Server::of(name).engine().merge(true)).await;
        let found: String = page
            .lines()
            .filter(|line| is_steady(line))
            .fold(String::new(), |page, line| page + line + "\n");
        let path = folder(name).join("expected.txt");
        if is_update {
            fs::write(&path, &found).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let first = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
        if found != expected {
            differs.push(format!("{name}: {first:?}"));
        }
    }
    assert!(
        differs.is_empty(),
        "{differs:#?}; if that is right: UPDATE_PAGES=1 cargo test --all-features --test engine_pages"
    );
}

#[test]
fn whose_page_it_is_shows_in_its_families() {
    let folders: BTreeSet<_> =
        fs::read_dir(folder("")).unwrap().map(|f| f.unwrap().file_name()).collect();
    let known: BTreeSet<_> = PAGES.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(folders, known);
    for (name, kind) in PAGES {
        let file = folder(name).join("metrics.txt");
        // With a head, which is no line of a page.
        let page =
            fs::read(&file).unwrap_or_else(|_| fs::read(file.with_extension("http")).unwrap());
        assert_eq!(EngineKind::of(&Page::parse(&page).unwrap()), Some(*kind), "{name}");
    }
    assert_eq!(EngineKind::of(&Page::default()), None);
}

/// What is not another thing each time.
fn is_steady(line: &str) -> bool {
    // NB: what is dropped is dropped with every sample, of which a slow machine takes more.
    let names = [
        "infermeter_build_info",
        "infermeter_scrape_duration",
        "infermeter_source_age",
        "infermeter_observations_dropped",
    ];
    !names.iter().any(|name| line.contains(name))
}
