{-# LANGUAGE DataKinds #-}
{-# LANGUAGE KindSignatures #-}

-- | Quantities that carry their unit in the type.
module Data.Units (Unit (..), Quantity, metres, seconds, plus, value) where

data Unit = Metre | Second

newtype Quantity (unit :: Unit) = Quantity Double
  deriving (Eq, Show)

metres :: Double -> Quantity 'Metre
metres = Quantity

seconds :: Double -> Quantity 'Second
seconds = Quantity

-- | Only quantities of one unit can be added.
plus :: Quantity unit -> Quantity unit -> Quantity unit
plus (Quantity a) (Quantity b) = Quantity (a + b)

value :: Quantity unit -> Double
value (Quantity a) = a
