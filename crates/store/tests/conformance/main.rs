//! One suite of behaviours that both databases must show.

#![expect(clippy::unwrap_used, reason = "what a test did not expect ends it")]

mod appends;
mod backups;
mod budget;
mod claims;
mod effects;
mod events;
mod leases;
mod ledger;
mod lists;
mod make;
mod place;

/// Runs every behaviour against both databases.
macro_rules! suite {
    ($($room:ident: $($name:ident),+ $(,)?;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    crate::$room::$name(crate::place::Place::sqlite()).await;
                }
            )+)+
        }
        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    if let Some(place) = crate::place::Place::postgres().await {
                        crate::$room::$name(place).await;
                    }
                }
            )+)+
        }
    };
}

suite! {
    appends:
        facts_come_back_in_order_with_the_newest_state,
        an_append_at_a_stale_sequence_number_changes_nothing,
        an_append_under_a_stale_epoch_is_fenced,
        one_bad_commit_among_many_fails_alone,
        of_two_writers_of_one_sequence_number_exactly_one_wins,
        an_append_that_contradicts_itself_is_refused,
        everything_is_there_after_a_reopen,
        a_change_wakes_whoever_waits;
    events:
        an_event_seen_before_applies_nothing,
        an_event_offered_by_many_at_once_is_admitted_once,
        events_are_listed_newest_first_by_filter;
    claims:
        no_task_is_claimed_twice,
        a_small_campaign_is_not_starved_by_a_big_one,
        limits_hold_under_concurrency,
        only_what_may_start_is_claimed,
        a_campaign_claims_by_wave_then_age;
    leases:
        a_lease_is_extended_until_it_is_lost,
        a_dropped_lease_puts_the_task_back,
        a_claim_never_begun_returns_when_its_lease_runs_out,
        a_release_fences_the_old_owner;
    effects:
        a_lane_hands_out_one_effect_at_a_time,
        freed_effects_are_handed_out_again_at_once,
        a_timer_holds_its_lane_up_only_when_it_is_due,
        an_effect_put_off_keeps_its_place,
        an_effect_is_leased_to_one_owner,
        an_effect_is_added_once;
    ledger:
        leaves_are_numbered_once_without_gaps,
        documents_are_written_listed_and_deleted;
    lists:
        lists_and_counts_agree_with_a_naive_model,
        awkward_text_comes_back_as_it_went_in;
    budget:
        a_cap_holds_at_every_level_against_many_writers,
        what_a_dead_process_held_counts_as_spent,
        a_commit_without_room_changes_nothing,
        numbers_beyond_those_of_the_database_come_back;
    backups:
        a_backup_restores_into_an_empty_store_of_either_kind,
        a_store_that_holds_something_is_not_restored_into,
        a_cut_or_changed_backup_leaves_the_store_empty;
}
