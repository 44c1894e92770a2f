use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

const VISIBILITY: Duration = Duration::from_millis(10);

fn queue(max_receives: u64) -> Queue {
    let start = Instant::now();
    let clock = move || {
        let time = Timestamp::parse("now", "2026-11-20T09:30:00Z").unwrap();
        time.plus(chrono::TimeDelta::from_std(start.elapsed()).unwrap())
    };
    Queue::new(Arc::new(clock), max_receives, VISIBILITY)
}

fn send(queue: &Queue, body: &str) -> String {
    queue.send(body.to_owned(), Duration::ZERO).unwrap()
}

/// The messages that can be received now.
async fn receive(queue: &Queue, limit: usize) -> Vec<Message> {
    tokio::time::timeout(Duration::ZERO, queue.receive(limit)).await.unwrap_or_default()
}

fn bodies(batch: &[Message]) -> Vec<&str> {
    batch.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test]
async fn unfinished_messages_return_after_the_visibility_timeout() {
    let queue = queue(3);
    let (good, bad) = (send(&queue, "good"), send(&queue, "bad"));
    let batch = receive(&queue, 10).await;
    assert_eq!(bodies(&batch), ["good", "bad"]);
    assert!(receive(&queue, 10).await.is_empty());
    assert_eq!(queue.len(), 2);

    let settled = Instant::now();
    queue.settle(batch, |message| message.id == good);
    assert_eq!(queue.len(), 1);
    let again = queue.receive(10).await;
    assert!(settled.elapsed() >= VISIBILITY);
    assert_eq!((again[0].id.as_str(), again[0].receives, bodies(&again)), (bad.as_str(), 2, vec!["bad"]));
    assert!(again[0].sent <= again[0].first_received && again[0].first_received < again[0].last_received);
    queue.settle(again, |_| true);
    assert_eq!(queue.len(), 0);
    assert!(receive(&queue, 10).await.is_empty() && queue.dead_letters().is_empty());
}

#[tokio::test]
async fn messages_become_dead_letters_after_their_last_attempt() {
    let queue = queue(3);
    let id = send(&queue, "poison");
    for _ in 0..3 {
        assert!(queue.dead_letters().is_empty());
        queue.settle(queue.receive(10).await, |_| false);
    }
    let letters = queue.dead_letters();
    assert_eq!((letters[0].id.as_str(), letters[0].receives, letters.len()), (id.as_str(), 3, 1));
    assert_eq!(queue.len(), 0);
    tokio::time::sleep(2 * VISIBILITY).await;
    assert!(receive(&queue, 10).await.is_empty());

    assert_eq!(queue.redrive(), 1);
    assert!(queue.dead_letters().is_empty());
    let again = receive(&queue, 10).await;
    assert_eq!((again[0].body.as_str(), again[0].receives), ("poison", 1));
    assert_ne!(again[0].id, id, "a message that is sent again has another id");
    assert!(again[0].sent > letters[0].sent);
}

#[tokio::test]
async fn delayed_messages_hold_up_no_others() {
    let (queue, started, delay) = (queue(3), Instant::now(), Duration::from_millis(500));
    queue.send("later".into(), delay).unwrap();
    assert!(receive(&queue, 10).await.is_empty());
    let waiting = queue.receive(10);
    let sending = async {
        tokio::time::sleep(VISIBILITY).await;
        send(&queue, "now");
    };
    let (batch, ()) = tokio::join!(waiting, sending);
    assert_eq!(bodies(&batch), ["now"]);
    assert_eq!(bodies(&queue.receive(10).await), ["later"]);
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn concurrent_consumers_share_and_lose_nothing() {
    let queue = Arc::new(queue(100));
    let mut random = fastrand::Rng::with_seed(7);
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let (queue, mut random) = (Arc::clone(&queue), random.fork());
            tokio::spawn(async move {
                loop {
                    let batch = queue.receive(1 + random.usize(..9)).await;
                    tokio::time::sleep(Duration::from_millis(random.u64(..5))).await;
                    let done: BTreeSet<String> =
                        batch.iter().filter(|_| random.bool()).map(|message| message.id.clone()).collect();
                    queue.settle(batch, |message| done.contains(&message.id));
                }
            })
        })
        .collect();
    for n in 0..500 {
        send(&queue, &n.to_string());
        if n % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..2))).await;
        }
    }
    // A forgotten message would make this wait for ever.
    tokio::time::timeout(Duration::from_secs(60), queue.wait_until_empty()).await.unwrap();
    assert!(queue.dead_letters().is_empty());
    let state = queue.lock();
    assert_eq!((state.waiting.len(), state.count, state.bytes), (0, 0, 0));
    drop(state);
    consumers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn full_queue_refuses_until_messages_are_done() {
    let queue = queue(1);
    for _ in 0..MAX_MESSAGES {
        send(&queue, "");
    }
    assert_eq!(queue.send("one more".into(), Duration::ZERO), Err(QueueFull));
    let batch = receive(&queue, 2).await;
    assert_eq!(queue.send("one more".into(), Duration::ZERO), Err(QueueFull), "messages in flight count too");
    queue.settle(batch, |_| true);
    send(&queue, "one more");

    let queue = self::queue(1);
    let large = "x".repeat(MAX_BYTES / 2);
    send(&queue, &large);
    send(&queue, &large);
    assert_eq!(queue.send("x".into(), Duration::ZERO), Err(QueueFull));
    queue.settle(receive(&queue, 1).await, |_| true);
    send(&queue, &large);
}

#[tokio::test]
async fn batches_fit_into_an_invocation() {
    let queue = queue(1);
    // JSON escapes every character, which makes two bytes.
    let body = "\"".repeat(1024 * 1024);
    for _ in 0..4 {
        send(&queue, &body);
    }
    assert_eq!(receive(&queue, 1000).await.len(), 2);
    assert_eq!(receive(&queue, 1000).await.len(), 2);
}

#[tokio::test]
async fn oldest_dead_letters_are_dropped() {
    let queue = queue(1);
    for n in 0..=MAX_DEAD_LETTERS {
        send(&queue, &n.to_string());
    }
    queue.settle(receive(&queue, MAX_DEAD_LETTERS + 1).await, |_| false);
    let letters = queue.dead_letters();
    assert_eq!((letters.len(), letters[0].body.as_str()), (MAX_DEAD_LETTERS, "1"));
    send(&queue, &"x".repeat(MAX_DEAD_LETTER_BYTES));
    queue.settle(receive(&queue, 1).await, |_| false);
    let letters = queue.dead_letters();
    assert_eq!((letters.len(), letters[0].body.len()), (1, MAX_DEAD_LETTER_BYTES));
}

#[test]
fn digest_is_the_one_that_senders_expect() {
    assert_eq!(body_md5("This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
}

#[tokio::test]
async fn quiet_groups_come_before_noisy_ones() {
    let queue = queue(3);
    let send_to = |group: Option<&str>, body: &str| {
        let label = Label { group: group.map(str::to_owned), ..Label::default() };
        queue.send_labelled(body.to_owned(), label, Duration::ZERO).unwrap();
    };
    for _ in 0..100 {
        send_to(Some("noisy"), "n");
    }
    // Nothing is in flight, so that nobody is noisy yet.
    let first = receive(&queue, 40).await;
    send_to(Some("quiet"), "q");
    send_to(None, "alone");
    let second = receive(&queue, 3).await;
    assert_eq!(bodies(&second), ["q", "alone", "n"]);
    // Its messages are done, and it is noisy no more.
    queue.settle(first, |_| true);
    send_to(Some("quiet"), "q");
    assert_eq!(bodies(&receive(&queue, 1).await), ["n"]);
    // Without a group, a message is nobody's.
    let queue = self::queue(3);
    for n in 0..50 {
        send(&queue, &n.to_string());
    }
    receive(&queue, 40).await;
    queue
        .send_labelled("q".into(), Label { group: Some("quiet".into()), ..Label::default() }, Duration::ZERO)
        .unwrap();
    assert_eq!(bodies(&receive(&queue, 1).await), ["40"]);
}
