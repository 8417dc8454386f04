// Package resize works out sizes of images.
package resize

// Fit returns the largest size with the shape of width by height that fits into a box.
// Sizes are in pixels; a size without area stays as it is.
func Fit(width, height, boxWidth, boxHeight int) (int, int) {
	if width < 1 || height < 1 || boxWidth < 1 || boxHeight < 1 {
		return width, height
	}
	if width*boxHeight > height*boxWidth {
		return boxWidth, max(1, height*boxWidth/width)
	}
	return max(1, width*boxHeight/height), boxHeight
}
