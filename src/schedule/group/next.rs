//! What a session asks about one of its domains.

use super::{super::shapes::Shapes, ControlNeed, DomainState, Observed, Phase, Slice, Tracked};

/// What the next session asks about one domain.
pub(super) fn slice(
    state: &mut DomainState,
    domain: usize,
    room: usize,
    (control_apart, puts_off): (bool, bool),
) -> Slice {
    // A host that greylists will not accept anybody at first.
    let in_vain = puts_off && state.waiting.iter().take(room).all(|tracked| tracked.attempts == 0);
    // Room for the control recipient is kept while its answer is open.
    let room = if state.is_open() && !control_apart && !in_vain {
        room.saturating_sub(1).max(1)
    } else {
        room
    };
    let count = state.waiting.len().min(room);
    let targets: Vec<Tracked> = state.waiting.drain(..count).collect();
    state.in_flight += targets.len();
    let apart = control_apart && !targets.is_empty();
    let need = if state.wants_control() && !apart {
        ControlNeed::Yes
    } else if targets.is_empty() || apart || state.control.phase == Phase::InFlight {
        ControlNeed::No
    } else if state.checks_last() {
        ControlNeed::AfterLast
    } else if !matches!(state.unknown, Observed::NotTried(_)) {
        ControlNeed::No
    } else {
        ControlNeed::IfAccepted
    };
    if need != ControlNeed::No {
        state.control.phase = Phase::InFlight;
    }
    let (control, known) = (state.control.address.as_ref(), state.unknown.known().is_some());
    let control = control.filter(|_| need != ControlNeed::No);
    Slice {
        domain,
        targets,
        control: control.and_then(|control| Shapes::of(control, state.control.name, known)),
        need,
    }
}
