module Main (main) where

import Data.Units (metres, plus, value)
import System.Exit (exitFailure)

main :: IO ()
main = if value (metres 1 `plus` metres 2) == 3 then pure () else exitFailure
