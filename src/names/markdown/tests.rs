use super::*;

#[test]
fn every_family_stands_in_one_section() {
    let in_sections = SECTIONS.iter().flat_map(|section| section.families);
    let mut sections: Vec<_> = in_sections.map(|family| family.name).collect();
    let mut catalogue: Vec<_> = CATALOGUE.iter().map(|family| family.name).collect();
    sections.sort_unstable();
    catalogue.sort_unstable();
    assert_eq!(sections, catalogue);
}

#[test]
fn a_row_says_everything_about_a_family() {
    let page = markdown();
    let row = "| `vllm:time_per_output_token_seconds` | \
               `vllm:request_time_per_output_token_seconds` | histogram | `model_name` | \
               seconds | Time from the first to the last token";
    assert!(page.contains(row), "{page}");
    assert!(page.contains("| in front of vLLM, SGLang or llama.cpp, once no"), "{page}");
    assert!(page.contains("| `vllm:request_params_n` | 1 2 5 10 20 |"), "{page}");
}
