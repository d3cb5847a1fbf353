use super::*;
use crate::task;

#[tokio::test]
async fn waiters_wake_in_the_order_in_which_they_came() {
    for _ in 0..20 {
        let (sender, receiver) = channel(0);
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 0..32 {
            let (mut receiver, order) = (receiver.clone(), order.clone());
            tasks.push(task::spawn(async move {
                receiver.changed().await.unwrap();
                order.lock().push(number);
            }));
        }
        task::yield_now().await;
        sender.send(1);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..32).collect::<Vec<u32>>());
    }
}

#[tokio::test]
async fn a_receiver_sees_a_change_once_and_only_the_last_of_several() {
    let (sender, mut receiver) = channel("first");
    assert_eq!(*receiver.borrow(), "first");
    sender.send("second");
    sender.send("third");
    receiver.changed().await.unwrap();
    assert_eq!(*receiver.borrow(), "third");
    let waiting = task::spawn(async move {
        receiver.changed().await.unwrap();
        *receiver.borrow_and_update()
    });
    task::yield_now().await;
    assert!(!waiting.is_finished(), "nothing changed since");
    assert!(!sender.send_if_modified(|_| false));
    task::yield_now().await;
    assert!(!waiting.is_finished(), "not modified is not changed");
    sender.send("fourth");
    assert_eq!(waiting.await.unwrap(), "fourth");
}

#[tokio::test]
async fn a_new_receiver_has_seen_the_present_value() {
    let (sender, _first) = channel(0);
    sender.send(1);
    let mut receiver = sender.subscribe();
    assert_eq!(sender.receiver_count(), 2);
    sender.send(2);
    let mut twin = receiver.clone();
    assert_eq!(receiver.changed().await, Ok(()));
    assert_eq!(twin.changed().await, Ok(()), "a clone has seen what its original had");
    drop((receiver, twin));
    assert_eq!(sender.receiver_count(), 1);
}

#[tokio::test]
async fn waiting_ends_when_the_last_sender_is_gone() {
    let (sender, mut receiver) = channel(0);
    let twin = sender.clone();
    let waiting = task::spawn(async move {
        let seen = receiver.changed().await;
        (seen, receiver.changed().await)
    });
    task::yield_now().await;
    drop(sender);
    task::yield_now().await;
    assert!(!waiting.is_finished());
    twin.send(1);
    drop(twin);
    assert_eq!(waiting.await.unwrap(), (Ok(()), Err(Closed)), "the last change is seen before the end");
}

#[tokio::test]
async fn waiting_for_a_condition_ends_with_the_value_that_meets_it() {
    let (sender, mut receiver) = channel(3);
    assert_eq!(receiver.wait_for(|value| *value > 2).await.map(|value| *value), Ok(3));
    let waiting = task::spawn(async move { receiver.wait_for(|value| *value > 5).await.map(|value| *value) });
    for value in 4..8 {
        sender.send(value);
        task::yield_now().await;
    }
    assert_eq!(waiting.await.unwrap(), Ok(6));
    let mut receiver = sender.subscribe();
    drop(sender);
    assert_eq!(receiver.wait_for(|value| *value > 9).await.map(|value| *value), Err(Closed));
}

#[tokio::test]
async fn no_change_is_missed_between_threads() {
    let (sender, mut receiver) = channel(0_u32);
    let writer = std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 1..=2000 {
                sender.send(value);
            }
        });
        task::spawn(async move { receiver.wait_for(|value| *value == 2000).await.map(|value| *value) })
    });
    assert_eq!(writer.await.unwrap(), Ok(2000));
}
