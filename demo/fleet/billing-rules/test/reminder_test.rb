require "date"
require "minitest/autorun"
require "reminder"

class ReminderTest < Minitest::Test
  def test_nothing_goes_out_in_the_first_week
    assert_nil Reminder.new(Date.new(2024, 3, 1)).step(Date.new(2024, 3, 7))
  end

  def test_five_weeks_late_is_final
    assert_equal :final, Reminder.new(Date.new(2024, 3, 1)).step(Date.new(2024, 4, 5))
  end
end
