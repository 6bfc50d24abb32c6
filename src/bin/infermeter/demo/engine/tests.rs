//! What must hold of the engine, whatever it is asked for.

use std::collections::HashMap;

use tokio::{sync::mpsc::unbounded_channel, time::Instant};

use super::*;
use crate::demo::engine::{scheduler::Word, words::word};

const LIMITS: Limits = Limits { blocks: 20, running: 4, step_tokens: 64 };

fn ask(prompt: usize, seed: u64, length: usize) -> Ask {
    Ask { prompt: tokens(&text(seed, prompt)).collect(), adapter: None, seed, length }
}

/// Steps until nothing is left to do; the words of each sequence.
fn finish(scheduler: &mut Scheduler) -> HashMap<u64, Vec<&'static str>> {
    let mut words: HashMap<u64, Vec<_>> = HashMap::new();
    while !scheduler.is_idle() {
        for word in scheduler.step().words {
            words.entry(word.id).or_default().push(word.word);
        }
    }
    words
}

fn answer(seed: u64, length: usize) -> Vec<&'static str> {
    (0..length).map(|place| word(seed, place)).collect()
}

#[test]
fn every_block_is_free_in_the_end_of_a_random_run() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut scheduler = Scheduler::new(LIMITS);
    let (mut open, mut words) = (HashMap::new(), HashMap::<u64, Vec<_>>::new());
    let (mut preempted, mut hits, mut left, mut finished) = (0, 0, 0, 0);
    for _ in 0..5000 {
        if scheduler.waiting() < 6 && random.u8(..) < 80 {
            // A few seeds, so that prompts are the same now and then.
            let mut ask = ask(random.usize(1..130), random.u64(..6), random.usize(1..120));
            ask.adapter = [None, None, Some("sql")][random.usize(..3)];
            let (seed, length) = (ask.seed, ask.length);
            open.insert(scheduler.submit(ask), (seed, length));
        }
        let someone = open.keys().min().copied().filter(|_| random.u8(..) < 4);
        if let Some(id) = someone {
            scheduler.leave(id);
            open.remove(&id);
            left += 1;
        }
        let step = scheduler.step();
        let cache = scheduler.cache();
        assert!(step.tokens <= LIMITS.step_tokens && scheduler.running() <= LIMITS.running);
        assert!(cache.used() <= cache.total() && cache.used() + cache.free() == cache.total());
        assert!(cache.tokens_held() <= cache.used() * BLOCK_SIZE);
        assert!(cache.tokens_held() >= cache.used().saturating_sub(4) * BLOCK_SIZE);
        assert!(step.hits <= step.queries);
        preempted += step.preempted;
        hits += step.hits;
        for Word { id, word, is_last } in step.words {
            let words = words.entry(id).or_default();
            words.push(word);
            assert_eq!(is_last, words.len() == open[&id].1);
            if is_last {
                let (seed, length) = open.remove(&id).unwrap();
                assert_eq!(*words, answer(seed, length));
                finished += 1;
            }
        }
    }
    assert!(preempted > 20 && hits > 1000 && left > 20 && finished > 100, "{preempted} {hits}");
    finish(&mut scheduler);
    let cache = scheduler.cache();
    assert_eq!((cache.used(), cache.tokens_held(), cache.free()), (0, 0, LIMITS.blocks));
}

#[test]
fn the_youngest_is_preempted_and_still_gets_every_token() {
    let mut scheduler = Scheduler::new(Limits { blocks: 5, ..LIMITS });
    let old = scheduler.submit(ask(30, 1, 40));
    let young = scheduler.submit(ask(30, 2, 20));
    let (mut preempted, mut waited) = (0, false);
    let mut words: HashMap<u64, Vec<_>> = HashMap::new();
    while !scheduler.is_idle() {
        let step = scheduler.step();
        preempted += step.preempted;
        waited |= step.preempted == 1 && scheduler.waiting() == 1;
        for word in step.words {
            words.entry(word.id).or_default().push(word.word);
        }
    }
    assert!(preempted > 0 && waited);
    assert_eq!(words[&old], answer(1, 40));
    assert_eq!(words[&young], answer(2, 20));
}

#[test]
fn nearly_all_blocks_are_used_while_slots_are_empty() {
    let mut scheduler = Scheduler::new(LIMITS);
    for seed in 0..4 {
        scheduler.submit(ask(65, seed, 4));
    }
    let mut most = (0, 0);
    while !scheduler.is_idle() {
        scheduler.step();
        most = most.max((scheduler.cache().used(), scheduler.cache().tokens_held()));
    }
    let (used, tokens) = most;
    assert_eq!(used, 20);
    let slots = used * BLOCK_SIZE;
    assert!((4 * 65..=4 * 68).contains(&tokens), "{tokens} of {slots} slots");
}

#[test]
fn a_prompt_that_was_there_before_is_not_computed_again() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.submit(ask(50, 1, 3));
    finish(&mut scheduler);
    scheduler.submit(ask(50, 1, 3));
    let step = scheduler.step();
    assert_eq!((step.queries, step.hits, step.tokens), (50, 48, 2));
    assert_eq!(step.started[0].1, 48);
    let of_adapter = Ask { adapter: Some("sql"), ..ask(50, 1, 3) };
    scheduler.submit(of_adapter);
    assert_eq!(scheduler.step().hits, 0);
}

#[test]
fn whoever_leaves_frees_all_at_the_next_step() {
    let mut scheduler = Scheduler::new(LIMITS);
    let ids: Vec<u64> = (0..6).map(|seed| scheduler.submit(ask(20, seed, 99))).collect();
    for _ in 0..3 {
        scheduler.step();
    }
    assert_eq!((scheduler.running(), scheduler.waiting()), (4, 2));
    scheduler.leave(ids[5]);
    assert_eq!(scheduler.waiting(), 1, "of the queue at once");
    for id in ids {
        scheduler.leave(id);
    }
    scheduler.step();
    assert_eq!((scheduler.running(), scheduler.cache().used()), (0, 0));
}

#[test]
fn first_come_first_started() {
    let mut scheduler = Scheduler::new(Limits { step_tokens: 24, ..LIMITS });
    let ids: Vec<u64> = (0..9).map(|seed| scheduler.submit(ask(30, seed, 5))).collect();
    let mut started = Vec::new();
    while !scheduler.is_idle() {
        started.extend(scheduler.step().started.into_iter().map(|(id, _)| id));
    }
    assert_eq!(started, ids);
}

#[test]
fn an_answer_beyond_the_cache_is_cut() {
    let mut scheduler = Scheduler::new(Limits { blocks: 2, ..LIMITS });
    let id = scheduler.submit(ask(100, 1, 100));
    assert_eq!(finish(&mut scheduler)[&id], answer(1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_of_its_start_its_words_and_the_end() {
    let (jobs, queue) = mpsc::channel(8);
    let pace = Pace { step: Duration::from_millis(4), token: Duration::from_micros(100) };
    let mut running = Vec::new();
    let client = async {
        let (events, mut received) = unbounded_channel();
        let (nobody, gone) = unbounded_channel();
        drop(gone);
        let begun = Instant::now();
        let job = |events, seed| Job { ask: ask(30, seed, 2), choice: 1, events };
        assert!(jobs.send(job(nobody, 1)).await.is_ok());
        assert!(jobs.send(job(events, 2)).await.is_ok());
        let mut told = Vec::new();
        while let Some((1, event)) = received.recv().await {
            told.push((event, begun.elapsed().as_millis()));
        }
        drop(jobs);
        told
    };
    let watch = |scheduler: &Scheduler, _: &Step| running.push(scheduler.running());
    let (told, ()) = tokio::join!(client, run(LIMITS, pace, queue, watch));
    let words = answer(2, 2);
    assert_eq!(
        told.iter().map(|(event, _)| *event).collect::<Vec<_>>(),
        [Event::Started { cached: 0 }, Event::Word(words[0]), Event::Word(words[1]), Event::Over]
    );
    let times: Vec<u128> = told.iter().map(|(_, time)| *time).collect();
    assert!(times[0] <= 1 && times[1] >= 7 && times[2] >= times[1] + 4, "{times:?}");
    assert_eq!(running, [1, 1, 0], "it left before it was begun; the last step clears up");
}
