// Reads CSV from standard input and writes its columns aligned.
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

using Row = std::vector<std::string>;

// Splits at commas; a quoted field may hold commas, not line ends.
static Row split(const std::string &line) {
    Row row(1);
    bool quoted = false;
    for (char c : line) {
        if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            row.emplace_back();
        else
            row.back() += c;
    }
    return row;
}

int main() {
    std::vector<Row> rows;
    std::vector<std::size_t> widths;
    for (std::string line; std::getline(std::cin, line);) {
        rows.push_back(split(line));
        widths.resize(std::max(widths.size(), rows.back().size()));
        for (std::size_t i = 0; i < rows.back().size(); ++i)
            widths[i] = std::max(widths[i], rows.back()[i].size());
    }
    for (const Row &row : rows) {
        std::ostringstream out;
        for (std::size_t i = 0; i < row.size(); ++i)
            out << std::left << std::setw(static_cast<int>(widths[i]) + 2) << row[i];
        std::string text = out.str();
        text.erase(text.find_last_not_of(' ') + 1);
        std::cout << text << '\n';
    }
}
