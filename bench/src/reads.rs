//! Costs and times of reads.

use std::time::Instant;

use harness::{Metered, World};

use crate::Result;
use crate::cases::Case;
use crate::data::Data;
use crate::report::{Line, Report};
use crate::stats::Times;

/// Rounds that are not counted, because connections open and caches fill.
pub(crate) const WARM_UP: usize = 10;

/// The measurements of a case.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) metered: Metered,
    pub(crate) times: Times,
}

pub(crate) async fn measure(world: &mut World, cases: &[Case], repetitions: usize) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> = Vec::with_capacity(cases.len());
    for case in cases {
        world.transport.take_metered();
        let reply = world.get(&case.path).await;
        let metered = world.transport.take_metered();
        if reply.status != 200 || reply.body.as_array().is_none_or(|page| page.len() != 50) {
            return Err(format!("{}: status {}, not a page of 50", case.path, reply.status).into());
        }
        if case.begins_with.as_ref().is_some_and(|id| reply.ids().first() != Some(&id.as_str())) {
            return Err(format!("{}: begins with {:?}", case.path, reply.ids().first()).into());
        }
        measured.push(Measured { metered, times: Times::default() });
    }
    world.set_metering(false);
    for round in 0..WARM_UP + repetitions {
        for (case, measured) in cases.iter().zip(&mut measured) {
            let began = Instant::now();
            world.get_text(&case.path).await;
            if round >= WARM_UP {
                measured.times.push(began.elapsed());
            }
        }
    }
    world.set_metering(true);
    Ok(measured)
}

/// Adds a line for each case, with PostgreSQL's times.
pub(crate) fn print(
    cases: &[Case],
    ours: &[Measured],
    postgres: Option<&[Times]>,
    data: &Data,
    report: &mut Report,
) {
    let Some(first) = ours.first() else { return };
    let slot = first.metered.units / 51.0 * data.slot() as f64;
    let times = |times: &Times, first: &Times| {
        let (median, p99, ratio) = (times.median(), times.p99(), times.median() / first.median());
        format!("median {median:.2} ms, p99 {p99:.2} ms ({ratio:.2}x)")
    };
    for (index, (case, measured)) in cases.iter().zip(ours).enumerate() {
        let (requests, units) = (measured.metered.total(), measured.metered.units);
        let ratio = measured.times.median() / first.times.median();
        let mut targets = Vec::new();
        let mut met = true;
        if let Some(most) = case.limits.requests {
            targets.push(format!("≤ {most} requests"));
            met &= requests <= most;
        }
        if let Some(times) = case.limits.units {
            let most = times * first.metered.units + slot;
            targets.push(format!("≤ {most:.1} units"));
            met &= units <= most;
        }
        if let Some(most) = case.limits.median {
            targets.push(format!("≤ {most}x"));
            met &= ratio <= most;
        }
        report.add(Line {
            what: case.name.clone(),
            figures: format!(
                "{requests} requests, {units} read units, {}",
                times(&measured.times, &first.times)
            ),
            postgres: postgres.map_or_else(String::new, |postgres| times(&postgres[index], &postgres[0])),
            met: (!targets.is_empty()).then_some(met),
            target: targets.join(", "),
        });
    }
}
