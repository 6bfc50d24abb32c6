use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;

type Answer = UnboundedReceiver<Result<Generated, String>>;

/// A request of so many tokens, and its client.
fn job(prompt: usize, max_tokens: usize) -> (Job, Answer) {
    let (answer, client) = mpsc::unbounded_channel();
    let sampler = Sampler::new(0.0, None);
    let meter = RequestMeter::default();
    (Job { prompt: vec![END; prompt], max_tokens, sampler, meter, answer }, client)
}

fn add(scheduler: &mut Scheduler, prompt: usize, max_tokens: usize) -> Answer {
    let (job, client) = job(prompt, max_tokens);
    scheduler.add(job);
    client
}

/// One step.
fn step(scheduler: &mut Scheduler) -> u64 {
    let preempted = scheduler.plan();
    advance(scheduler);
    preempted
}

/// Each sequence draws `a`.
fn advance(scheduler: &mut Scheduler) {
    let mut scores = vec![0.0; 257];
    scores[usize::from(b'a')] = 1.0;
    scheduler.advance(&vec![scores; scheduler.parts().len()]);
}

fn state(scheduler: &Scheduler) -> (u64, u64, u64) {
    (scheduler.running(), scheduler.waiting(), scheduler.kv().used_blocks)
}

fn received(client: &mut Answer) -> usize {
    let mut tokens = 0;
    while client.try_recv().is_ok_and(|token| token.is_ok()) {
        tokens += 1;
    }
    tokens
}

#[test]
fn so_many_run_and_the_others_wait() {
    let mut scheduler = Scheduler::new(2, 64);
    let mut clients = [1, 2, 3].map(|tokens| add(&mut scheduler, 10, tokens));
    scheduler.plan();
    assert_eq!(state(&scheduler), (2, 1, 2));
    step(&mut scheduler);
    assert_eq!(state(&scheduler), (1, 1, 1), "the first has its only token");
    while scheduler.running() + scheduler.waiting() > 0 {
        step(&mut scheduler);
    }
    assert_eq!(clients.each_mut().map(received), [1, 2, 3]);
    assert_eq!(state(&scheduler), (0, 0, 0));
}

#[test]
fn a_prompt_that_does_not_fit_waits() {
    let mut scheduler = Scheduler::new(8, 4);
    let _clients = [(30, 1), (40, 1), (1, 1)].map(|(p, max)| add(&mut scheduler, p, max));
    scheduler.plan();
    assert_eq!(state(&scheduler), (1, 2, 2), "and nobody overtakes it");
    step(&mut scheduler);
    scheduler.plan();
    assert_eq!(state(&scheduler), (1, 1, 3), "one block is left for it to grow");
}

#[test]
fn the_last_to_start_gives_way_and_loses_no_token() {
    let mut scheduler = Scheduler::new(8, 4);
    let mut clients = [(), ()].map(|()| add(&mut scheduler, 16, 40));
    let mut preempted = 0;
    for _ in 0..200 {
        preempted += step(&mut scheduler);
        let kv = scheduler.kv();
        assert!(kv.tokens.is_some_and(|tokens| tokens <= kv.used_blocks * 16));
    }
    assert_eq!(preempted, 1);
    assert_eq!(clients.each_mut().map(received), [40, 40]);
    assert_eq!(state(&scheduler), (0, 0, 0));
}

#[test]
fn who_was_preempted_is_computed_again_from_the_start() {
    let mut scheduler = Scheduler::new(8, 4);
    let _clients = [(), ()].map(|()| add(&mut scheduler, 16, 40));
    while step(&mut scheduler) == 0 {}
    let before = scheduler.waiting[0].tokens.len();
    scheduler.plan();
    while scheduler.waiting() > 0 {
        advance(&mut scheduler);
        scheduler.plan();
    }
    let tokens = scheduler.parts().last().map(|part| part.tokens.len());
    assert_eq!(tokens, Some(before));
}

#[test]
fn a_client_that_leaves_frees_its_blocks_and_its_place() {
    let mut scheduler = Scheduler::new(1, 64);
    let [runs, waits, stays] = [(); 3].map(|()| add(&mut scheduler, 20, 40));
    step(&mut scheduler);
    assert_eq!(state(&scheduler), (1, 2, 2));
    drop(waits);
    drop(runs);
    scheduler.plan();
    assert_eq!(state(&scheduler), (1, 0, 2));
    drop(stays);
    scheduler.plan();
    assert_eq!(state(&scheduler), (0, 0, 0));
}

#[test]
fn a_step_that_fails_ends_those_that_run() {
    let mut scheduler = Scheduler::new(1, 64);
    let [mut first, mut second] = [(); 2].map(|()| add(&mut scheduler, 20, 1));
    scheduler.plan();
    scheduler.fail("broken");
    assert_eq!(first.try_recv(), Ok(Err("broken".to_owned())));
    step(&mut scheduler);
    assert_eq!(received(&mut second), 1);
}
