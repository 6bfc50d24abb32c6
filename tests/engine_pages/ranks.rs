//! Data-parallel engines of one page.

use super::server::{Server, lines, page_of};

/// vLLM's page with two engines, of which each says how many blocks both have.
async fn blocks(both_have: &str, usage: [f64; 2]) -> Vec<String> {
    let server = Server::start();
    let page = [0, 1].map(|engine| {
        format!(
            "vllm:cache_config_info{{block_size=\"16\",engine=\"{engine}\",\
             num_gpu_blocks=\"{both_have}\"}} 1.0\n\
             vllm:kv_cache_usage_perc{{engine=\"{engine}\",model_name=\"m\"}} {}\n",
            usage[engine]
        )
    });
    server.page("/metrics", page.concat());
    let page = page_of(server.engine()).await;
    let told = ["vllm:num_blocks", "vllm:cache_config", "vllm:kv_cache"];
    let told = told.iter().flat_map(|start| lines(&page, start));
    told.map(|line| line.replace("model_name=\"m\",engine=", "")).collect()
}

#[tokio::test]
async fn what_is_told_as_a_sum_is_shared_equally() {
    assert_eq!(
        blocks("202", [0.25, 0.0]).await,
        [
            "vllm:num_blocks_used{\"0\"} 25.0",
            "vllm:num_blocks_used{\"1\"} 0.0",
            "vllm:num_blocks_total{\"0\"} 100.0",
            "vllm:num_blocks_total{\"1\"} 100.0",
            "vllm:cache_config_info{\"0\",block_size=\"16\",num_gpu_blocks=\"101\"} 1.0",
            "vllm:cache_config_info{\"1\",block_size=\"16\",num_gpu_blocks=\"101\"} 1.0",
            "vllm:kv_cache_usage_perc{\"0\"} 0.25",
            "vllm:kv_cache_usage_perc{\"1\"} 0.0",
        ]
    );
}

#[tokio::test]
async fn shares_that_cannot_be_equal_are_not_told() {
    let shares = ["vllm:kv_cache_usage_perc{\"0\"} 0.25", "vllm:kv_cache_usage_perc{\"1\"} 0.25"];
    assert_eq!(blocks("203", [0.25, 0.25]).await, shares);
    // 50.25 of 201, or 50.5 of 202.
    assert_eq!(blocks("404", [0.25, 0.25]).await, shares);
}
