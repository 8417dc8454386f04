# Decides which reminder an open invoice gets on a day.
class Reminder
  STEPS = { friendly: 7, firm: 21, final: 35 }.freeze

  def initialize(due)
    @due = due
  end

  # The strictest step reached on the day, or nil before the first.
  def step(day)
    late = (day - @due).to_i
    STEPS.select { |_, days| late >= days }.keys.last
  end
end
