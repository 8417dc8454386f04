defmodule EventsBus.Topic do
  @moduledoc "Matches topics such as `orders.created` with patterns such as `orders.*`."

  @doc "Says whether a topic matches a pattern; `*` stands for one part, `#` for the rest."
  def match?(pattern, topic), do: parts(String.split(pattern, "."), String.split(topic, "."))

  defp parts(["#"], _), do: true
  defp parts([], []), do: true
  defp parts(["*" | pattern], [_ | topic]), do: parts(pattern, topic)
  defp parts([part | pattern], [part | topic]), do: parts(pattern, topic)
  defp parts(_, _), do: false
end
