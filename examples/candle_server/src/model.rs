//! A small transformer as Llama is one, with random weights: it says nonsense, by the real way.
//!
//! Its tokens are bytes, and [`END`], which starts each prompt and may end an answer.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{
    Embedding, Linear, Module, RmsNorm,
    ops::{silu, softmax_last_dim},
    rotary_emb::rope,
};
use fastrand::Rng;

use crate::cache::Pool;

/// Starts each prompt, and ends an answer.
pub(crate) const END: u32 = 256;
/// The most tokens of a prompt and its answer.
pub(crate) const CONTEXT: usize = 512;
pub(crate) const LAYERS: usize = 2;
/// The width of a token in the model, and of its row in the KV cache.
pub(crate) const WIDTH: usize = 64;

const VOCABULARY: usize = 257;
const HEADS: usize = 4;
const HEAD: usize = WIDTH / HEADS;
const HIDDEN: usize = 2 * WIDTH;

pub(crate) struct Model {
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    /// The angles of each position, as cosines and sines.
    angles: (Tensor, Tensor),
    device: Device,
}

/// What one step computes of one sequence.
pub(crate) struct Part {
    /// The tokens whose keys and values are not in the cache yet.
    pub(crate) tokens: Vec<u32>,
    /// Where all of its tokens are in the cache, with those that are computed now.
    pub(crate) slots: Vec<u32>,
}

struct Layer {
    attention_norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

// === impl Model ===

impl Model {
    /// The same seed, the same model.
    pub(crate) fn random(seed: u64, device: &Device) -> Result<Self> {
        // NB: candle has no seed for the CPU, so the weights are drawn here.
        let mut random = Rng::with_seed(seed);
        let mut linear = |from: usize, to: usize| weights(&mut random, from, to, device);
        let norm = || -> Result<RmsNorm> {
            Ok(RmsNorm::new(Tensor::ones(WIDTH, DType::F32, device)?, 1e-5))
        };
        let embedding = Embedding::new(linear(WIDTH, VOCABULARY)?.weight().clone(), WIDTH);
        let mut layer = || -> Result<Layer> {
            Ok(Layer {
                attention_norm: norm()?,
                query: linear(WIDTH, WIDTH)?,
                key: linear(WIDTH, WIDTH)?,
                value: linear(WIDTH, WIDTH)?,
                output: linear(WIDTH, WIDTH)?,
                norm: norm()?,
                gate: linear(WIDTH, HIDDEN)?,
                up: linear(WIDTH, HIDDEN)?,
                down: linear(HIDDEN, WIDTH)?,
            })
        };
        let layers = (0..LAYERS).map(|_| layer()).collect::<Result<_>>()?;
        let head = linear(WIDTH, VOCABULARY)?;
        let angles = angles(device)?;
        Ok(Self { embedding, layers, norm: norm()?, head, angles, device: device.clone() })
    }

    /// Computes one step: for each part how likely each token is to come next.
    ///
    /// The tokens of all parts go through the linear layers together, as one batch; attention is a
    /// loop over the parts, whose lengths differ.
    pub(crate) fn forward(&self, parts: &[Part], pool: &Pool) -> Result<Vec<Vec<f32>>> {
        let tokens: Vec<u32> = parts.iter().flat_map(|part| part.tokens.iter().copied()).collect();
        let positions: Vec<u32> = parts.iter().flat_map(Part::positions).collect();
        let positions = Tensor::new(positions, &self.device)?;
        let cos = self.angles.0.index_select(&positions, 0)?;
        let sin = self.angles.1.index_select(&positions, 0)?;

        let mut state = self.embedding.forward(&Tensor::new(tokens, &self.device)?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let attention = layer.attention(i, &state, (&cos, &sin), parts, pool)?;
            state = (state + attention)?;
            state = (&state + layer.feed_forward(&state)?)?;
        }
        let ends = parts.iter().scan(0, |end, part| {
            *end += part.tokens.len() as u32;
            Some(*end - 1)
        });
        let last = Tensor::new(ends.collect::<Vec<u32>>(), &self.device)?;
        let last = state.index_select(&last, 0)?;
        self.head.forward(&self.norm.forward(&last)?)?.to_vec2()
    }
}

// === impl Part ===

impl Part {
    /// How many of its tokens were in the cache before.
    fn cached(&self) -> usize {
        self.slots.len() - self.tokens.len()
    }

    fn positions(&self) -> impl Iterator<Item = u32> + use<> {
        self.cached() as u32..self.slots.len() as u32
    }
}

// === impl Layer ===

impl Layer {
    fn attention(
        &self,
        layer: usize,
        state: &Tensor,
        (cos, sin): (&Tensor, &Tensor),
        parts: &[Part],
        pool: &Pool,
    ) -> Result<Tensor> {
        let state = self.attention_norm.forward(state)?;
        let query = rope(&by_head(&self.query.forward(&state)?)?.unsqueeze(0)?, cos, sin)?;
        let key = rope(&by_head(&self.key.forward(&state)?)?.unsqueeze(0)?, cos, sin)?;
        let (query, key) = (query.squeeze(0)?, by_token(&key.squeeze(0)?)?);
        let value = self.value.forward(&state)?;

        let (mut row, mut answers) = (0, Vec::with_capacity(parts.len()));
        for part in parts {
            let (new, all) = (part.tokens.len(), part.slots.len());
            let fresh = &part.slots[part.cached()..];
            pool.write(layer, fresh, &key.narrow(0, row, new)?, &value.narrow(0, row, new)?)?;
            let (keys, values) = pool.read(layer, &part.slots)?;
            let keys = by_head(&keys)?.transpose(1, 2)?.contiguous()?;
            let scores = query.narrow(1, row, new)?.contiguous()?.matmul(&keys)?;
            let scores = (scores / (HEAD as f64).sqrt())?.broadcast_add(&hidden(
                new,
                all,
                state.device(),
            )?)?;
            answers.push(by_token(&softmax_last_dim(&scores)?.matmul(&by_head(&values)?)?)?);
            row += new;
        }
        self.output.forward(&Tensor::cat(&answers, 0)?)
    }

    fn feed_forward(&self, state: &Tensor) -> Result<Tensor> {
        let state = self.norm.forward(state)?;
        let gate = silu(&self.gate.forward(&state)?)?;
        self.down.forward(&(gate * self.up.forward(&state)?)?)
    }
}

// === Helpers ===

/// Weights such that a layer neither grows nor shrinks what it is given.
fn weights(random: &mut Rng, from: usize, to: usize, device: &Device) -> Result<Linear> {
    let most = (3.0 / from as f32).sqrt();
    let weights: Vec<f32> = (0..from * to).map(|_| (2.0 * random.f32() - 1.0) * most).collect();
    Ok(Linear::new(Tensor::from_vec(weights, (to, from), device)?, None))
}

fn angles(device: &Device) -> Result<(Tensor, Tensor)> {
    let speeds: Vec<f32> =
        (0..HEAD / 2).map(|i| 10_000_f32.powf(-2.0 * i as f32 / HEAD as f32)).collect();
    let speeds = Tensor::new(speeds, device)?.unsqueeze(0)?;
    let positions = Tensor::arange(0_f32, CONTEXT as f32, device)?.unsqueeze(1)?;
    let angles = positions.matmul(&speeds)?;
    Ok((angles.cos()?, angles.sin()?))
}

/// Rows of tokens as `(head, token, part of the head)`.
fn by_head(rows: &Tensor) -> Result<Tensor> {
    rows.reshape((rows.dim(0)?, HEADS, HEAD))?.transpose(0, 1)?.contiguous()
}

/// The other way round.
fn by_token(heads: &Tensor) -> Result<Tensor> {
    heads.transpose(0, 1)?.contiguous()?.flatten_from(D::Minus2)
}

/// What is added to scores, so that none of the last `new` tokens of `all` sees a later one.
fn hidden(new: usize, all: usize, device: &Device) -> Result<Tensor> {
    let score = |row: usize, column: usize| {
        if column > all - new + row { f32::NEG_INFINITY } else { 0.0 }
    };
    let scores: Vec<f32> =
        (0..new).flat_map(|row| (0..all).map(move |column| score(row, column))).collect();
    Tensor::from_vec(scores, (new, all), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cache, blocks out of order and a neighbour in the batch change nothing.
    #[test]
    fn a_token_at_a_time_is_as_good_as_all_at_once() -> Result<()> {
        let device = Device::Cpu;
        let model = Model::random(1, &device)?;
        let pool = Pool::new(8, LAYERS, WIDTH, &device)?;
        let tokens: Vec<u32> = (0..20).map(|i| (i * 7) % 256).collect();

        let part = Part { tokens: tokens.clone(), slots: (0..20).collect() };
        let at_once = model.forward(&[part], &pool)?.remove(0);

        let slots: Vec<u32> = (112..128).chain(64..68).collect();
        let mut by_token = Vec::new();
        for (i, token) in tokens.iter().enumerate() {
            let neighbour = Part { tokens: vec![END; 3], slots: vec![32, 33, 34] };
            let part = Part { tokens: vec![*token], slots: slots[..=i].to_vec() };
            by_token = model.forward(&[neighbour, part], &pool)?.remove(1);
        }
        let apart = at_once.iter().zip(&by_token).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-4);
        Ok(())
    }
}
