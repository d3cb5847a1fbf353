use super::*;

fn names() -> Vec<String> {
    (1..=5).map(|number| format!("n{number}")).collect()
}

#[test]
fn a_plan_has_all_kinds_and_never_takes_down_too_many() {
    World::run(1, async |_| {
        let plan =
            FaultSchedule::draw(&names(), &Rates::all(Duration::from_secs(20)), Duration::from_secs(600));
        let kinds: BTreeSet<String> = plan
            .faults
            .iter()
            .map(|planned| format!("{:?}", planned.fault).split(['(', ' ']).next().unwrap().to_owned())
            .collect();
        assert_eq!(kinds.len(), 10, "{kinds:?}");
        assert!(plan.faults.is_sorted_by_key(|planned| planned.at));
        for planned in &plan.faults {
            let Some(_) = planned.fault.takes_down() else { continue };
            let at_once = plan.faults.iter().filter(|other| {
                other.fault.takes_down().is_some()
                    && other.at <= planned.at
                    && planned.at < other.at + other.lasts
            });
            assert_eq!(at_once.count(), 1, "one node is down at a time");
        }
    });
}

#[test]
fn a_seed_has_one_plan() {
    let plan = |seed| {
        World::run(seed, async |_| {
            FaultSchedule::draw(&names(), &Rates::all(Duration::from_secs(9)), Duration::from_secs(100))
        })
    };
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
    let nothing =
        World::run(1, async |_| FaultSchedule::draw(&names(), &Rates::NONE, Duration::from_secs(100)));
    assert_eq!(nothing, FaultSchedule::default());
}

#[test]
fn after_the_last_fault_all_is_well() {
    World::explore(0..5, async |world| {
        for name in names() {
            world.node(&name, |life| async move {
                let file = life.env.disk.open("log", lamina_env::disk::OpenMode::Create).await;
                drop(file);
                std::future::pending::<()>().await;
            });
        }
        let plan =
            FaultSchedule::draw(&names(), &Rates::all(Duration::from_secs(10)), Duration::from_secs(120));
        let restarts = plan.faults.iter().filter(|planned| planned.fault.takes_down().is_some()).count();
        assert!(restarts > 3);
        plan.run(&world).await;
        assert!(world.elapsed() >= plan.faults.last().unwrap().at);
        assert_eq!(world.network().links(), Link::default());
        for node in world.nodes().values() {
            assert!(node.is_up(), "{}", node.name());
            let mut faults = None;
            node.disk().change_faults(|present| faults = Some(present.clone()));
            let mut healthy = lamina_env::disk::memory::Faults::default();
            SimNode::usual_times(&mut healthy);
            assert_eq!(faults.unwrap(), healthy);
            assert_eq!(
                lamina_env::Clock::now_ms(node.clock()),
                crate::node::START_MS + world.elapsed().as_millis() as u64
            );
        }
    });
}
