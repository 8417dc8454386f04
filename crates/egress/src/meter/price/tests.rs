use super::*;

fn reading(input: u64, cache_read: u64, cache_write: u64, hour: u64, output: u64) -> Reading {
    Reading {
        usage: Usage {
            input,
            cache_read,
            cache_write,
            output,
        },
        cache_write_hour: hour,
        ..Reading::default()
    }
}

const MILLION: u64 = 1_000_000;

#[test]
fn every_row_that_ships_is_a_price_with_limits() {
    let table = PriceTable::shipped().unwrap();
    assert!(table.0.len() > 20);
    for (name, price) in &table.0 {
        assert!(price.rates.output > 0 && price.rates.input > 0, "{name}");
        assert!(
            price.context.is_some() && price.output_limit.is_some(),
            "{name}"
        );
        assert!(price.rates.cache_read <= price.rates.input, "{name}");
    }
    assert_eq!(SHIPPED.matches("source = ").count(), table.0.len());
    assert_eq!(SHIPPED.matches("date = ").count(), table.0.len());
}

#[test]
fn each_kind_of_token_has_its_price() {
    let table = PriceTable::shipped().unwrap();
    let price = table.price("claude-opus-4-8").unwrap();
    for (reading, dollars) in [
        (reading(MILLION, 0, 0, 0, 0), 5.0),
        (reading(0, MILLION, 0, 0, 0), 0.5),
        (reading(0, 0, MILLION, 0, 0), 6.25),
        (reading(0, 0, MILLION, MILLION, 0), 10.0),
        (reading(0, 0, 0, 0, MILLION), 25.0),
    ] {
        let cost = price.cost(&reading, Duration::ZERO);
        assert_eq!(cost.money, MicroUsd((dollars * 1e6) as u64));
        assert_eq!(cost.tokens, MILLION);
    }
    // What is less than a millionth of a dollar rounds up.
    assert_eq!(
        price.cost(&reading(0, 1, 0, 0, 0), Duration::ZERO).money,
        MicroUsd(1)
    );
}

#[test]
fn long_prompts_cost_more_and_the_worst_case_knows_it() {
    let table = PriceTable::shipped().unwrap();
    let price = table.price("claude-haiku-5-5").unwrap();
    let long = price
        .cost(&reading(100_001, 0, 0, 0, 1000), Duration::ZERO)
        .money
        .0;
    let short = price
        .cost(&reading(100_000, 0, 0, 0, 1000), Duration::ZERO)
        .money
        .0;
    assert!(long > 4 * short, "{long} {short}");
    let most = Most {
        input: 100_001,
        output: 1000,
        caches: Caches::None,
        time: Duration::ZERO,
    };
    assert!(price.worst(most).money.0 >= long);
}

#[test]
fn names_are_known_with_their_dates_and_no_other_ends() {
    let table = PriceTable::shipped().unwrap();
    for name in [
        "claude-opus-4-5-20251101",
        "claude-opus-4-5@20251101",
        "gpt-5-2025-08-07",
        "gpt-4.1-2025-04-14",
    ] {
        assert!(table.price(name).is_some(), "{name}");
    }
    for name in [
        "claude-opus-4-5-latest",
        "gpt-5-12345678",
        "Claude-opus-4-5",
        "claude-opus-4-5-20251101-x",
        "",
        "-20251101",
        "20251101",
    ] {
        assert!(table.price(name).is_none(), "{name}");
    }
}

#[test]
fn a_file_overrides_and_a_row_without_a_price_is_refused() {
    let table = PriceTable::shipped().unwrap();
    let table = table.with("[[model]]\nname='qwen'\nfree=true\n[[model]]\nname='gpt-5'\ninput=1\noutput=2.5\n[[model]]\nname='own'\ngpu_second=0.002").unwrap();
    let cost = |name: &str| {
        table
            .price(name)
            .unwrap()
            .cost(
                &reading(MILLION, 0, 0, 0, MILLION),
                Duration::from_millis(1500),
            )
            .money
    };
    assert_eq!(cost("qwen"), MicroUsd(0));
    assert_eq!(cost("gpt-5"), MicroUsd(3_500_000));
    assert_eq!(cost("own"), MicroUsd(3000));
    for text in [
        "[[model]]\nname='x'",
        "[[model]]\nname='x'\ninput=1",
        "[[model]]\nname='x'\ninput=-1\noutput=1",
        "[[model]]\nname='x'\ninput=nan\noutput=1",
        "[[model]]\nname='x'\nfree=true\nprice=1",
    ] {
        assert!(PriceTable::default().with(text).is_err(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_use_within_the_bounds_costs_more_than_the_worst_case(
        input in 0u64..300_000, read in 0u64..300_000, write in 0u64..300_000, hour in 0u64..300_000, output in 0u64..100_000,
    ) {
        let table = PriceTable::shipped().unwrap();
        for price in table.0.values() {
            let hour = hour.min(write);
            let most = Most { input: input + read + write, output, caches: Caches::Hour, time: Duration::from_secs(1) };
            let cost = price.cost(&reading(input, read, write, hour, output), Duration::from_secs(1));
            let worst = price.worst(most);
            proptest::prop_assert!(cost.money <= worst.money && cost.tokens <= worst.tokens);
        }
    }
}
