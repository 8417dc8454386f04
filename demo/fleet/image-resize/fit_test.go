package resize

import "testing"

func TestWideImagesFillTheWidth(t *testing.T) {
	if width, height := Fit(400, 100, 200, 200); width != 200 || height != 50 {
		t.Fatalf("got %d by %d", width, height)
	}
}

func FuzzFit(f *testing.F) {
	f.Add(3, 2, 10, 10)
	f.Fuzz(func(t *testing.T, width, height, boxWidth, boxHeight int) {
		Fit(width%5000, height%5000, boxWidth%5000, boxHeight%5000)
	})
}
