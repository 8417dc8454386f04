defmodule EventsBus.MixProject do
  use Mix.Project

  def project do
    [
      app: :events_bus,
      version: "0.9.0",
      elixir: "~> 1.13",
      deps: deps()
    ]
  end

  def application, do: [extra_applications: [:logger]]

  defp deps, do: [{:jason, "~> 1.4"}]
end
