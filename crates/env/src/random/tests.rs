use super::*;

fn draws() -> (u64, u128, Vec<u64>) {
    (u64(), u128(), (0..100).map(|_| between(10, 20)).collect())
}

#[test]
fn a_seed_gives_the_same_numbers_each_time() {
    assert!(!is_seeded());
    seed_this_thread(7);
    assert!(is_seeded());
    let first = draws();
    let elsewhere = std::thread::scope(|scope| scope.spawn(is_seeded).join().unwrap());
    assert!(!elsewhere, "a seed is one thread's");
    seed_this_thread(7);
    let second = draws();
    seed_this_thread(8);
    let other = draws();
    unseed_this_thread();
    assert_eq!(first, second);
    assert_ne!(first, other);
    assert_ne!(draws(), first, "without a seed it is chance again");
}

#[test]
fn a_draw_stays_in_its_range() {
    let drawn: Vec<u64> = (0..1000).map(|_| between(3, 6)).collect();
    assert!([3, 4, 5].iter().all(|number| drawn.contains(number)));
    assert!(drawn.iter().all(|number| (3..6).contains(number)));
    assert_eq!(between(5, 5), 5);
    assert_eq!(between(9, 2), 9);
}
