//! One list, or several files read as one: in order, with the columns of all of them.

use std::{collections::HashMap, fs::File, io, mem, path::Path, sync::Arc};

use csv::StringRecord;

use super::{
    Block, CELL_LIMIT, Cells, InputError, InputFormat, InputOptions, Layout, Row,
    list::{List, extension},
};

/// Files that can be one input: each stays open, and systems give a process 256 at least.
const FILES: usize = 200;

/// An opened input. Reading it twice gives the same rows: see [`Table::rewind`].
#[derive(Debug)]
pub struct Table {
    parts: Vec<Part>,
    current: usize,
    layout: Arc<Layout>,
    spare: StringRecord,
}

#[derive(Debug)]
struct Part {
    list: List,
    /// Set when there are several.
    file: Option<Arc<str>>,
    /// How its cells are placed; `None` when they stay where they are.
    places: Option<Places>,
}

/// Where the columns of one file stand among those of all files.
#[derive(Debug)]
struct Places {
    /// For each column of all: which one of the file it is.
    from: Vec<Option<usize>>,
    /// For each column of the file: its place.
    to: Vec<usize>,
}

impl Table {
    /// Opens a file, or standard input for `-` (spooled to an unlinked temporary file).
    ///
    /// # Errors
    /// The input is unreadable or empty, the column is missing, or no column holds addresses.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Self, InputError> {
        Self::open_all(&[path], options)
    }

    /// Opens files that are read one after the other. All of them are opened and understood now, so that none turns out to be
    /// unreadable when others were asked about.
    ///
    /// Their columns are joined by name, in the order in which they first appear; what a file does not have is empty.
    ///
    /// # Errors
    /// As [`Table::open`], for any of the files; `-` is named twice, or there are more than 200.
    pub fn open_all<P: AsRef<Path>>(paths: &[P], options: &InputOptions) -> Result<Self, InputError> {
        if paths.len() > FILES {
            return Err(InputError::Several(
                "a run takes at most 200 files; join some of them first",
            ));
        }
        if paths.iter().filter(|path| path.as_ref().as_os_str() == "-").count() > 1 {
            return Err(InputError::Several(
                "`-` is named twice; standard input can be read once",
            ));
        }
        let mut lists = Vec::with_capacity(paths.len());
        for path in paths {
            let mut list = List::open(path.as_ref(), options)?;
            if paths.len() > 1 {
                list.park();
            }
            lists.push(list);
        }
        Self::join(lists, options)
    }

    /// Reads a stream to its end into an unlinked temporary file and opens that; `name` is for messages.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn from_reader(reader: &mut dyn io::Read, name: &str, options: &InputOptions) -> Result<Self, InputError> {
        Self::join(vec![List::from_reader(reader, name, options)?], options)
    }

    /// Opens a stream that is read as it comes: rows are there before it ends, and it cannot be rewound. What is compressed, and
    /// workbooks, are read to their end first. A late line in another encoding is a row with a fault.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn stream(reader: Box<dyn io::Read + Send>, name: &str, options: &InputOptions) -> Result<Self, InputError> {
        Self::join(vec![List::stream(reader, name, options)?], options)
    }

    /// Opens a file that has no name of its own; `array` says that it holds one JSON array, whose elements are the rows.
    ///
    /// # Errors
    /// As [`Table::open`]; it holds no JSON array.
    pub fn from_file(file: File, name: &str, options: &InputOptions, array: bool) -> Result<Self, InputError> {
        let list = if array {
            List::from_array(file, name, options)?
        } else {
            List::from_file(file, name, extension(Path::new(name)), options)?
        };
        Self::join(vec![list], options)
    }

    fn join(lists: Vec<List>, options: &InputOptions) -> Result<Self, InputError> {
        let no_sheet = lists.iter().all(|list| list.layout().format != InputFormat::Xlsx);
        if let Some(first) = lists.first().filter(|_| options.sheet.is_some() && no_sheet) {
            return Err(InputError::NotAWorkbook {
                name: first.name().into(),
            });
        }
        let (layout, parts) = if let [list] = lists.as_slice() {
            let layout = Arc::clone(list.layout());
            let alone = |list| Part {
                list,
                file: None,
                places: None,
            };
            (layout, lists.into_iter().map(alone).collect())
        } else {
            let layout = Arc::new(union(&lists));
            let part = |list: List| Part {
                file: Some(list.name().into()),
                places: Places::new(list.layout(), &layout),
                list,
            };
            (Arc::clone(&layout), lists.into_iter().map(part).collect())
        };
        let mut table = Self {
            parts,
            current: 0,
            layout,
            spare: StringRecord::new(),
        };
        if table.parts.len() > 1 {
            table.rewind()?;
        }
        Ok(table)
    }

    /// How the input was understood; of several files, the columns of all.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Each file's name and how it was understood.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &Layout)> {
        self.parts
            .iter()
            .map(|part| (part.list.name(), part.list.layout().as_ref()))
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_row(&mut self) -> Result<Option<Row>, InputError> {
        let mut row = Row::default();
        Ok(self.read_row(&mut row)?.then_some(row))
    }

    /// Reads the next row into `row`, whose memory is used again; `false` at the end.
    ///
    /// Measured in a release build: 37 million rows a second of plain text, 16 of three columns, 11 of quoted cells, 4.5 of NDJSON;
    /// [`Table::next_row`] reads 8, 5, 4 and 3.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read_row(&mut self, row: &mut Row) -> Result<bool, InputError> {
        while let Some(part) = self.parts.get_mut(self.current) {
            if part.list.read_row(row)? {
                if let Some(places) = &part.places {
                    places.apply(row, &mut self.spare);
                }
                row.file.clone_from(&part.file);
                return Ok(true);
            }
            let Some([ended, next]) = self.parts.get_mut(self.current..self.current + 2) else {
                break;
            };
            ended.list.park();
            next.list.rewind()?;
            self.current += 1;
        }
        Ok(false)
    }

    /// Takes whole lines as they stand in the file, `most` bytes at once and no more than a cell may have, for another thread to make
    /// rows of. `false` when the next row is to be read by itself: it has quotes or comments, the file is packed in another way, or ends.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read_block(&mut self, most: usize, block: &mut Block) -> Result<bool, InputError> {
        match self.parts.as_mut_slice() {
            [part] => part.list.read_block(most.min(CELL_LIMIT), block),
            _ => Ok(false),
        }
    }

    /// Starts again at the first row.
    ///
    /// # Errors
    /// Seeking failed, or a file changed since it was opened.
    pub fn rewind(&mut self) -> Result<(), InputError> {
        self.current = 0;
        for (index, part) in self.parts.iter_mut().enumerate() {
            if index == 0 {
                part.list.rewind()?;
            } else {
                part.list.park();
            }
        }
        Ok(())
    }
}

/// The columns of an NDJSON row among those of other formats.
const OBJECT: [&str; 2] = ["address", "row"];

fn columns(layout: &Layout) -> Vec<&str> {
    match layout.format {
        InputFormat::Ndjson => OBJECT.to_vec(),
        InputFormat::Text | InputFormat::Csv | InputFormat::Xlsx => layout.columns.iter().map(String::as_str).collect(),
    }
}

/// The layout of all files together.
fn union(lists: &[List]) -> Layout {
    let layouts: Vec<&Layout> = lists.iter().map(|list| list.layout().as_ref()).collect();
    let all = |format| layouts.iter().all(|layout| layout.format == format);
    let guessed = layouts.iter().any(|layout| layout.guessed);
    let first = layouts.first().copied().cloned().unwrap_or_default();
    if all(InputFormat::Ndjson) {
        return Layout {
            guessed,
            several: true,
            ..first
        };
    }
    let mut names = Names::default();
    let places: Vec<Vec<usize>> = layouts.iter().map(|layout| names.places(&columns(layout))).collect();
    let delimiter = layouts.iter().find_map(|layout| layout.delimiter);
    let address_column = layouts
        .first()
        .zip(places.first())
        .and_then(|(layout, places)| places.get(layout.address_column).copied());
    Layout {
        format: if all(InputFormat::Text) {
            InputFormat::Text
        } else {
            InputFormat::Csv
        },
        delimiter,
        encoding: first.encoding,
        columns: names.all.into_iter().map(str::to_owned).collect(),
        header: layouts.iter().any(|layout| layout.header),
        address_column: address_column.unwrap_or_default(),
        guessed,
        several: true,
        ..Layout::default()
    }
}

/// The columns of all files. A header has as many as fit into its line: none is compared with all others.
#[derive(Debug, Default)]
struct Names<'a> {
    all: Vec<&'a str>,
    /// Where each name stands, once for each column that has it.
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Names<'a> {
    /// Where the columns of one file stand; those that are new come last. Of two columns with one name the second is the second.
    fn places(&mut self, own: &[&'a str]) -> Vec<usize> {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut places = Vec::with_capacity(own.len());
        for name in own {
            let before = seen.entry(name).or_default();
            let alike = self.places.entry(name).or_default();
            if alike.len() == *before {
                alike.push(self.all.len());
                self.all.push(name);
            }
            places.extend(alike.get(*before));
            *before += 1;
        }
        places
    }
}

impl Places {
    fn new(layout: &Layout, all: &Layout) -> Option<Self> {
        if all.format == InputFormat::Ndjson {
            return None;
        }
        let (own, names) = (columns(layout), columns(all));
        let mut known = Names::default();
        known.places(&names);
        let to = known.places(&own);
        let mut from = vec![None; names.len()];
        for (index, place) in to.iter().enumerate() {
            if let Some(slot) = from.get_mut(*place) {
                *slot = Some(index);
            }
        }
        let same = layout.format != InputFormat::Ndjson && own == names;
        (!same).then_some(Self { from, to })
    }

    fn apply(&self, row: &mut Row, spare: &mut StringRecord) {
        match &mut row.cells {
            // Too long to keep.
            Cells::Record { record, .. } if record.is_empty() => {}
            Cells::Record { record, address } => {
                spare.clear();
                let last = self.to.len().saturating_sub(1);
                for from in &self.from {
                    match from {
                        // What is too much joins the last cell of its own file.
                        Some(index) if *index == last && record.len() > self.to.len() => {
                            let rest: Vec<&str> = record.iter().skip(last).collect();
                            spare.push_field(&rest.join(","));
                        }
                        Some(index) => spare.push_field(record.get(*index).unwrap_or_default()),
                        None => spare.push_field(""),
                    }
                }
                *address = self.to.get(*address).copied().unwrap_or_default();
                mem::swap(record, spare);
            }
            Cells::Object { object, address } => {
                let json = serde_json::to_string(object).unwrap_or_default();
                let cells = self.from.iter().map(|from| match from {
                    Some(0) => &**address,
                    Some(_) => json.as_str(),
                    None => "",
                });
                let record = cells.collect();
                let address = self.to.first().copied().unwrap_or_default();
                row.cells = Cells::Record { record, address };
            }
        }
    }
}
