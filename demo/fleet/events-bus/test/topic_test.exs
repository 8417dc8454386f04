defmodule EventsBus.TopicTest do
  use ExUnit.Case, async: true
  alias EventsBus.Topic

  test "a star stands for exactly one part" do
    assert Topic.match?("orders.*", "orders.created")
    refute Topic.match?("orders.*", "orders.created.late")
  end
end
